"""The parts of the script in which something goes wrong: half a revision, hosts that go, a lock that is taken away.

Like those of ``script``, each begins with ``base`` and tells the ledger what it proves.
"""

import itertools
import time
from typing import Final

from reconciler.model.manifests import Host
from reconciler.operations.conformance.declared import service
from reconciler.operations.conformance.picture import Picture
from reconciler.operations.conformance.script import OTHER, WEB, web_version, world
from reconciler.operations.conformance.stage import Stage
from reconciler.store.interface import Acquire, Committed, DeleteIf, Release

HOLD_S: Final = 3.0
BLINK_S: Final = 2.0
FORGET_S: Final = 3.0
ROUNDS_S: Final = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
"""How long after a change the lock is taken away: somewhere in there a scheduler is between reading and writing."""
TAKEN_S: Final = 1.0
STEALS: Final = 20


def applying(stage: Stage) -> None:
    """Half a revision is there; then all of it."""
    before = stage.picture.records
    half = stage.declared.with_service(service(WEB, 5, version=web_version(stage), least=2, most=6))
    stage.declare(half.without_service(OTHER), is_settled=False)
    changed: list[str] = []

    def compare() -> None:
        if stage.picture.records != before and not changed:
            changed.append(_difference(before, stage.picture))

    stage.watch(HOLD_S, compare)
    key = f"state/sync/conformance-{stage.cluster}"
    problem = f"{key} said applying since index {stage.declared.index}, and yet: {changed[0]}" if changed else None
    stage.ledger.judge("applying", problem, f"{key} said applying for {HOLD_S:g} s: no task was issued or withdrawn")
    stage.declare(stage.declared)
    is_done = stage.settle()
    shown = f"{stage.shown(WEB)}; {stage.shown(OTHER)}"
    stage.ledger.judge("applying", None if is_done else f"{key} says settled, and nothing follows: {shown}", shown)


def drain(stage: Stage) -> None:
    """A host drains, and more tasks are wanted meanwhile."""
    host = _busiest(stage)
    stage.declare(stage.declared.with_host(Host(name=host, draining=True)))
    is_empty = stage.until(lambda: stage.are_converged() and not _on(stage.picture, host))
    left = ", ".join(sorted(_on(stage.picture, host)))
    problem = (
        f"config/hosts/{host} says draining since index {stage.declared.index}, and {left or 'tasks'} did not move"
    )
    if not is_empty and not left:
        problem = f"{host} drains, and its tasks have no healthy replacement: {stage.shown(WEB)}; {stage.shown(OTHER)}"
    stage.ledger.judge("draining", None if is_empty else problem, f"{host} was emptied: {stage.shown(WEB)}")
    stage.change(service(WEB, 5, version=web_version(stage), least=2, most=6))
    is_done, shown = stage.settle(), stage.shown(WEB)
    stage.ledger.judge("scale", None if is_done else f"desired is 5, {host} drains: {shown}", shown)


def missing(stage: Stage) -> None:
    """A host blinks, as in an agent's restart: nothing follows from that."""
    host, before = _busiest(stage), stage.picture.records
    stage.hosts[host].leave()
    changed: list[str] = []

    def compare() -> None:
        if stage.picture.records != before and not changed:
            changed.append(_difference(before, stage.picture))

    stage.watch(BLINK_S, compare)
    stage.hosts[host].come()
    stage.watch(1.0, compare)
    problem = f"{host} was missing for {BLINK_S:g} s, and: {changed[0]}" if changed else None
    stage.ledger.judge("missing-host", problem, f"{host} was missing for {BLINK_S:g} s, and nothing was changed")


def lost(stage: Stage) -> None:
    """A host stays away, and comes back with what it ran."""
    host, began = _busiest(stage), stage.clock.monotonic()
    stage.hosts[host].leave()
    is_done = stage.until(lambda: stage.are_converged() and not _on(stage.picture, host), stage.lost_s)
    took_s = stage.clock.monotonic() - began
    left = ", ".join(sorted(_on(stage.picture, host))) or stage.shown(WEB)
    stage.ledger.judge(
        "lost-host",
        None if is_done else f"{host} was missing for {took_s:.0f} s, and its tasks were not replaced: {left}",
        f"{host} went; its tasks were healthy elsewhere after {took_s:.0f} s",
    )
    stage.hosts[host].come()
    is_done, shown = stage.settle(), f"{stage.shown(WEB)}; {stage.shown(OTHER)}"
    stage.ledger.judge("lost-host", None if is_done else f"{host} is back, and there are: {shown}", shown)


def fence(stage: Stage) -> None:
    """The lock is taken away while the scheduler has something to write."""
    holders = []
    for delay_s, desired in zip(ROUNDS_S, itertools.cycle((4, 3)), strict=False):
        stage.change(service(WEB, desired, version=web_version(stage), least=2, most=5))
        time.sleep(delay_s)
        before = stage.store.get(stage.lock_key)
        session = _steal(stage)
        if session is None or before is None:
            stage.ledger.skip("fence", f"{stage.lock_key} could not be taken away")
            return
        _hold(stage, session, 3 if desired == 4 else 4)
        is_done = stage.until(lambda: _is_held(stage)) and stage.settle()
        lock = stage.store.get(stage.lock_key)
        holders.append(lock.holder if lock else None)
        whose = "the same session" if lock and lock.holder == before.holder else "another session"
        stage.ledger.judge(
            "takeover",
            None
            if is_done
            else f"{stage.lock_key} was free again, and within {stage.patience_s:g} s only: "
            f"{'it was taken' if _is_held(stage) else 'nobody took it'}, {stage.shown(WEB)}",
            f"{len(holders)} times it was free again, at last taken by {whose}, {lock.holder if lock else None}",
        )
        if not is_done:
            return


def removal(stage: Stage) -> None:
    """A service goes, then the cluster; then both are declared again, and go again."""
    others = {(task.id, task.issue) for task in stage.picture.of_service(WEB)}
    stage.declare(stage.declared.without_service(OTHER))
    is_gone = stage.until(lambda: not stage.picture.of_service(OTHER))
    shown = stage.shown(OTHER)
    stage.ledger.judge("service-removed", None if is_gone else f"it is declared no more: {shown}", shown)
    stage.watch(1.0)
    kept = {(task.id, task.issue) for task in stage.picture.of_service(WEB)}
    problem = f"service {OTHER} went, and with it of {WEB}: {sorted(others - kept)}"
    stage.ledger.judge("service-removed", None if others == kept else problem, stage.shown(WEB))
    _remove_cluster(stage)
    stage.declare(world(stage))
    is_done = stage.settle()
    shown = f"{stage.shown(WEB)}; {stage.shown(OTHER)}"
    problem = f"the cluster was removed and is declared again: {shown}"
    stage.ledger.judge("first-placement", None if is_done else problem, shown)
    _remove_cluster(stage)


def _remove_cluster(stage: Stage) -> None:
    stage.declare(stage.declared.without_cluster())
    is_gone = stage.until(lambda: not stage.picture.tasks and not stage.picture.by_host)
    shown = f"{stage.shown(WEB)}; {stage.shown(OTHER)}"
    problem = f"cluster {stage.cluster} is declared no more: {shown}"
    stage.ledger.judge("cluster-removed", None if is_gone else problem, shown)
    # time to forget the head, for whoever does: a cluster of that name must go on above its seq
    stage.until(lambda: stage.picture.head is None, FORGET_S)


def _steal(stage: Stage) -> str | None:
    """Take the lock, whoever holds it: a key that is deleted is held by nobody. The session that has it then."""
    session = stage.session
    for _ in range(STEALS):
        entry = stage.store.get(stage.lock_key)
        if entry is not None and entry.holder == session:
            return session
        if entry is not None:
            stage.store.commit([DeleteIf(stage.lock_key, entry.index)])
        if isinstance(stage.store.commit([Acquire(stage.lock_key, b"conformance", session)]), Committed):
            return session
    return None


def _hold(stage: Stage, session: str, desired: int) -> None:
    """Hold the lock for a while, change something, and see that nobody writes."""
    lock = stage.store.get(stage.lock_key)
    since = lock.index if lock else 0
    stage.look()
    before = stage.picture
    stage.change(service(WEB, desired, version=web_version(stage), least=2, most=5))
    stage.watch(TAKEN_S)
    stage.look()
    # still the same hold: nobody took it back in between
    lock = stage.store.get(stage.lock_key)
    after, is_ours = stage.picture, lock is not None and lock.holder == session and lock.index == since
    written = max(before.written, after.written)
    problem = None
    if written > since or before.schedule != after.schedule:
        problem = f"{stage.lock_key} was held by another session since index {since}, and at {written} was written: "
        problem += _difference(before.records, after) if before.records != after.records else "the head"
    if is_ours:
        stage.ledger.judge("fence", problem, f"nothing was written while another session held it, from index {since}")
        stage.store.commit([Release(stage.lock_key, b"", session)])
    else:
        stage.ledger.broken("fence", f"{stage.lock_key} was held by session {session} and was taken from it")


def _is_held(stage: Stage) -> bool:
    lock = stage.store.get(stage.lock_key)
    return lock is not None and lock.holder is not None


def _busiest(stage: Stage) -> str:
    """The host with the most tasks."""
    return max(stage.workers, key=lambda host: (len(_on(stage.picture, host)), host))


def _on(picture: Picture, host: str) -> list[str]:
    return [task.id for task in picture.tasks.values() if task.host == host]


def _difference(before: set[tuple[str, int]], after: Picture) -> str:
    """What was issued and withdrawn, by id and issue."""
    new, gone = sorted(after.records - before), sorted(before - after.records)
    parts = [("issued", new), ("withdrawn", gone)]
    return ", ".join(
        f"{what} {', '.join(f'{each} (issue {issue})' for each, issue in some)}" for what, some in parts if some
    )
