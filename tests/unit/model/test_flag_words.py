"""What stands in ``flags`` is read in one way by everybody."""

import pytest

from reconciler.model.flag_words import Flag, read


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--label", "-p", "-p 80:80"], [(0, "--label", "-p"), (2, "--publish", "80:80")]),
        (["-itP", "-Pp80"], [(0, "--interactive", "true"), (0, "--tty", "true"), (0, "--publish-all", "true"),
                             (1, "--publish-all", "true"), (1, "--publish", "80")]),
        (["-P=false", "--init", "false"], [(0, "--publish-all", "false"), (1, "--init", "true"), (2, "false", None)]),
        (["--label 'a=-p 80'", "-e", "A=b c"], [(0, "--label", "a=-p 80"), (1, "--env", "A=b c")]),
        (["-m"], [(0, "--memory", None)]),
    ],
)  # fmt: skip
def test_a_word_that_is_the_value_of_a_flag_is_no_flag(
    flags: list[str], found: list[tuple[int, str, str | None]]
) -> None:
    assert list(read(flags)) == [Flag(*each) for each in found]


def test_what_cannot_be_split_is_told_and_the_rest_is_read() -> None:
    problems: list[str] = []
    assert [flag.name for flag in read(["--label 'open", "--init"], problems)] == ["--init"]
    assert problems == ['"--label \'open": No closing quotation']
