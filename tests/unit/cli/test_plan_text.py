"""A plan as a comment on a pull request: it renders whatever it holds, and GitHub takes it at any size."""

from reconciler.cli import plan_text
from reconciler.queries.field_changes import FieldChange
from reconciler.queries.forecast import Forecast, Move, Unplaced
from reconciler.queries.preview import ObjectChange, Preview

GITHUB_TAKES = 65_536


def change(number: int, value: str = "x") -> ObjectChange:
    field = FieldChange(path="image", before="old", after=value)
    name = f"service web{number}"
    return ObjectChange(action="update", key=f"k{number}", object=name, fields=(field,), origin="a.yml:1:1")


def made(changes: int, words: str) -> Preview:
    unplaced = Unplaced(cluster="main", service="web", task_name="web", task_version=1, count=1, reason=words)
    moves = tuple(Move(round=n, cluster="main", service="web", what="start", why=words) for n in range(changes))
    return Preview(
        source="fleet",
        revision="r1",
        hash="0123456789abcdef",
        changes=tuple(change(number, words) for number in range(changes)),
        unchanged=0,
        kept=(),
        refused=(words,) * changes,
        warnings=(words,) * changes,
        tasks=Forecast(moves=moves, unplaced=(unplaced,) * changes),
        does_not_fit=(unplaced,) * changes,
    )


def test_a_plan_of_any_size_is_taken_by_github_and_says_what_was_cut() -> None:
    comment = "\n".join(plan_text.markdown(made(3000, "ü" * 3000)))
    assert len(comment.encode()) < GITHUB_TAKES
    assert " of 3000 changed objects are left out here" in comment
    assert "more of these, left out here" in comment
    assert "lines about tasks are left out here" in comment
    assert comment.count("```") == 4
    assert comment.endswith("Plan `0123456789abcdef`, revision `r1`")
    assert "left out" not in "\n".join(plan_text.markdown(made(3, "short")))


def test_words_from_elsewhere_can_not_end_a_block_or_mention_anybody() -> None:
    comment = "\n".join(plan_text.markdown(made(1, "a\n```\n</details> <b>*@team*</b> | [x](y)")))
    assert comment.count("```") == 4
    outside = "".join(comment.split("```")[::2])
    assert "<b>" not in outside
    assert "@team" not in outside
    assert outside.count("</details>") == 1
    assert "\\*@\u200bteam\\*" in outside
    assert "\\[x\\](y)" in outside
