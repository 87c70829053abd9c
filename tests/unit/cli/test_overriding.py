"""What the commands by hand accept is what they keep, and what --wait waits for is what it says."""

import re

import pytest
from click.testing import CliRunner

from reconciler.cli.main import reconciler
from reconciler.errors import UsageError


def help_of(command: str) -> str:
    return re.sub(r"\s+", " ", CliRunner().invoke(reconciler, [command, "--help"]).output)


@pytest.mark.parametrize(
    ("command", "goal"),
    [
        ("stop", "the last of its tasks has stopped"),
        ("drain", "nothing runs on the host any more"),
        ("abort", "it has gone back"),
        ("scale", "all that changed is healthy"),
        ("rebalance", "all that changed is healthy"),
    ],
)
def test_wait_says_what_it_waits_for(command: str, goal: str) -> None:
    assert f"End when {goal}; with 1 and the reasons if not." in help_of(command)


@pytest.mark.parametrize("command", ["start", "unpause"])
def test_of_what_is_only_taken_back_nothing_is_asked_that_nobody_keeps(command: str) -> None:
    assert not re.search("--reason|--by|--until", help_of(command))


@pytest.mark.parametrize("option", ["--until", "--reason"])
def test_scale_clear_takes_no_end_and_no_reason(option: str) -> None:
    done = CliRunner().invoke(reconciler, ["scale", "web", "--clear", option, "2h", "--store", "memory:"])
    assert isinstance(done.exception, UsageError)
    assert "go with a NUMBER" in str(done.exception)


def test_restart_clear_takes_no_reason() -> None:
    done = CliRunner().invoke(reconciler, ["restart", "web", "--clear", "--reason", "why", "--store", "memory:"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize("option", [("--dry-run",), ("--reason", "why")])
def test_rebalance_clear_takes_nothing_that_it_would_not_keep(option: tuple[str, ...]) -> None:
    done = CliRunner().invoke(reconciler, ["rebalance", "--clear", *option, "--store", "memory:"])
    assert isinstance(done.exception, UsageError)
    assert "--clear takes back" in str(done.exception)
