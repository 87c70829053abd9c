"""Durations as people write them on a command line."""

import click
import pytest

from reconciler.cli.moments import Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("1m30s", 90.0), ("2h", 7200.0)]
)
def test_seconds_and_durations_are_taken(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-1", "0", "nan", "inf", "10ms"])
def test_anything_else_is_refused_with_what_is_meant(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"such as 30s or 1m30s|at least 100ms"):
        Duration().convert(text, None, None)
