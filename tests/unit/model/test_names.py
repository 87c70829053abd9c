"""Names and ids."""

import pytest

from reconciler.model.names import env_name, is_name, task_id


@pytest.mark.parametrize("name", ["a", "web", "web-1", "a.b_c", "X9", "a" * 64])
def test_a_name_may_hold_letters_digits_dashes_dots_and_underscores(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "_", "-a", "a-", "a/b", "a b", "a\n", "ä", "a" * 65, ".", ".."])
def test_a_name_never_holds_what_a_key_or_a_command_line_would_trip_over(name: str) -> None:
    assert not is_name(name)


def test_task_ids_are_written_as_the_specification_says() -> None:
    assert task_id("default", "helloworld", 2, 0) == "default-helloworld-2-0"


def test_environment_names_hold_only_capitals_digits_and_underscores() -> None:
    assert env_name("check-1.http") == "CHECK_1_HTTP"
