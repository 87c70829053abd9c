"""``conformance`` finds the bug that was planted, and nothing else.

All schedulers run at once, each on a store of its own: they mostly wait.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.operations.conformance.rules import RULES, Verdict
from reconciler.operations.conformance.run import PARTS, Report, run
from reconciler.runtime.ids import new_id
from reconciler.store import sentinel
from reconciler.store.connect import open_store
from reconciler.store.interface import Store
from tests.support.careless_scheduler import BUGS, Bug, CarelessScheduler

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conformance"), pytest.mark.timeout(400)]

FOUND: dict[Bug, tuple[tuple[str, ...], set[str]]] = {
    "no lock": ((), {"lock"}),
    "never takes a lock again": (("fence",), {"takeover"}),
    "no fence": (("fence",), {"fence"}),
    "one record only": (("scale",), {"both-records", "first-placement"}),
    "two transactions": (("scale",), {"both-records", "sequence", "placement-sequence"}),
    "another digest": (("scale",), {"record"}),
    "no placement sequence": (("scale",), {"placement-sequence"}),
    "sequence begins anew": (("removal",), {"sequence"}),
    "ids at once again": (("numbers",), {"instances"}),
    "splits ids": (("scale",), {"first-placement"}),
    "ignores min": (("update",), {"min"}),
    "ignores max": (("update",), {"max"}),
    "min off by one": (("update",), {"min"}),
    "never scales down": (("scale",), {"scale"}),
    "never updates": (("update",), {"rollout"}),
    "all or nothing": (("capacity",), {"fills"}),
    "ignores cpu": (("capacity",), {"cpu"}),
    "ignores memory": (("capacity",), {"memory"}),
    "ignores ports of stopping tasks": (("update",), {"ports"}),
    "provides no named ports": (("ports",), {"record", "named-ports"}),
    "ignores executors": (("scale",), {"executors"}),
    "ignores marks": (("applying",), {"applying"}),
    "ignores draining": (("drain",), {"draining"}),
    "takes missing for lost": (("missing",), {"missing-host"}),
    "never replaces the lost": (("lost",), {"lost-host"}),
    "goes on with a sick version": (("halt",), {"min", "halt"}),
    "keeps removed services": (("removal",), {"service-removed"}),
    "keeps removed clusters": (("removal",), {"cluster-removed"}),
    "writes a heartbeat": (("scale",), {"quiescence"}),
}
"""Which part of the script meets a bug, and the rules that it breaks."""
MAY_BREAK: dict[Bug, set[str]] = {"splits ids": {"min"}}
"""What else a bug breaks on a slow machine: here the task that is taken for another service's is healthy by then."""


def play(folder: Path, bug: Bug | None) -> tuple[Report, list[str]]:
    """A report, and the keys that are left afterwards."""
    url = f"sqlite://{folder / f'{bug}.db'}"
    theirs, ours = open_store(url, environ={}), open_store(url, environ={})
    sentinel.ensure(ours, new_id())
    scheduler = CarelessScheduler(theirs, "careless", bug)
    scheduler.start()
    try:
        parts = () if bug is None else FOUND[bug][0]
        report = run(ours, cluster="demo", scheduler="careless", parts=parts, patience_s=12, lost_s=20)
        scheduler.stop()
        return report, left(ours)
    finally:
        scheduler.stop()
        theirs.close()
        ours.close()


def left(store: Store) -> list[str]:
    """All keys but the sentinels and the sequence that must never go back."""
    kept = ("config/.store", "state/.store", "state/placement")
    return [entry.key for entry in store.list("").entries if entry.key not in kept]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[Bug | None, tuple[Report, list[str]]]:
    folder = tmp_path_factory.mktemp("conformance")
    everyone: list[Bug | None] = [None, *BUGS]
    with ThreadPoolExecutor(len(everyone)) as pool:
        return dict(zip(everyone, pool.map(lambda bug: play(folder, bug), everyone), strict=True))


def broken(report: Report) -> set[str]:
    return {each.rule for each in report.rules if each.verdict is Verdict.BROKEN}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_breaks_its_rules_and_no_others(
    reports: dict[Bug | None, tuple[Report, list[str]]], bug: Bug
) -> None:
    report, _ = reports[bug]
    shown = "\n".join(f"{each.rule}: {each.evidence}" for each in report.rules if each.verdict is Verdict.BROKEN)
    found = broken(report) - MAY_BREAK.get(bug, set())
    assert found == FOUND[bug][1], f"{shown}\nstopped: {report.stopped}"
    assert not report.is_kept


def test_a_scheduler_without_a_bug_keeps_every_rule(reports: dict[Bug | None, tuple[Report, list[str]]]) -> None:
    report, _ = reports[None]
    assert report.stopped is None
    assert [each for each in report.rules if each.verdict is not Verdict.KEPT] == []
    assert report.parts == tuple(PARTS)
    assert report.is_kept


def test_every_rule_has_a_bug_that_breaks_it() -> None:
    assert set(RULES) == set().union(*(rules for _, rules in FOUND.values()))


def test_nothing_is_left_behind(reports: dict[Bug | None, tuple[Report, list[str]]]) -> None:
    remains = {bug: keys for bug, (_, keys) in reports.items() if keys}
    assert remains == {}


def test_nobody_who_serves_the_cluster_is_said_at_once(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path / 'store.db'}", environ={})
    sentinel.ensure(store, new_id())
    report = run(store, cluster="demo", scheduler="nobody", patience_s=1)
    store.close()
    assert broken(report) == {"lock"}
    assert "schedulers/demo" in str(report.stopped)
    assert not report.is_kept
