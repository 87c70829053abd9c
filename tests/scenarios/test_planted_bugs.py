"""The texts notice what they are for: with a bug planted into the scheduler, the one about it prints something else.

Bugs that any scheduler may have are planted in ``tests/support/careless_scheduler.py`` and found by ``conformance``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.task import RolloutPhase
from reconciler.scheduler import proving, rollout, snapshot
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.moves import Moves
from reconciler.scheduler.outage import Outage
from reconciler.scheduler.preparing import Preparing
from reconciler.scheduler.rollout import Course
from reconciler.scheduler.system_plan import _Hosts
from tests.scenarios.script import replay, write

FOLDER = Path(__file__).parent


def _never_gives_up(
    view: ClusterView, current: Course, *others: Any, judge: Callable[..., Course] = rollout.judge
) -> Course:
    judged = judge(view, current, *others)
    return current if judged.phase is RolloutPhase.FAILED and current.phase is RolloutPhase.REVERTING else judged


Plant = tuple[Any, str, object, str]
PLANTS: dict[str, Plant] = {
    "no host is waited for": (Preparing, "is_ready", lambda *_: True, "prepared_before_anything_stops"),
    "no host of a system service is": (
        Preparing,
        "is_ready",
        lambda *_: True,
        "prepared_on_each_host_of_a_system_service",
    ),
    "nothing is prepared": (Preparing, "ask", lambda *_: None, "prepared_before_anything_stops"),
    "what failed is asked of every host": (
        Preparing,
        "failed",
        lambda *_: [],
        "prepared_failed_fetch_costs_no_healthy_task",
    ),
    "as many start as max allows": (Moves, "_allowed", lambda _, missing: missing, "rollout_parallel"),
    "all hosts at once": (_Hosts, "_may_begin", lambda _: True, "system_parallel"),
    "healthy as soon as it runs": (proving, "UNCHECKED_S", 0.0, "rollout_without_a_check"),
    "a failed version is tried on": (rollout, "TRIES", 1000, "rule_12_failed_version_is_given_up"),
    "going back never fails": (rollout, "judge", _never_gives_up, "rollout_a_revert_is_never_reverted"),
    "a drain has no deadline": (snapshot, "overdue", lambda *_: set(), "drain_past_its_deadline"),
    "the missing are lost": (
        Outage,
        "is_lost",
        lambda found, host, _: host in found.missing,
        "rule_06_host_back_in_time",
    ),
}


@pytest.mark.parametrize("bug", PLANTS)
def test_a_planted_bug_changes_what_the_text_about_it_prints(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong, text = PLANTS[bug]
    path = FOLDER / f"{text}.txt"
    expected = path.read_text(encoding="utf-8")
    assert write(replay(path)) == expected, "it is right without the bug"
    monkeypatch.setattr(where, name, wrong)
    assert write(replay(path)) != expected
