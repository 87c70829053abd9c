"""One run of the script, from the refusal to begin where others live to the last key that it removes. The command line
calls ``run``.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from reconciler.errors import StoreError, UsageError
from reconciler.model import codec, keys
from reconciler.model.names import is_name
from reconciler.model.preparation import Preparation
from reconciler.model.task import Task
from reconciler.operations.conformance import script, troubles
from reconciler.operations.conformance.declared import Declared
from reconciler.operations.conformance.rules import Finding, Ledger, Verdict
from reconciler.operations.conformance.source import ConfigSource, source_name
from reconciler.operations.conformance.stage import NoProgress, Say, Stage, host_states
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.store.interface import Acquire, DeleteIf, Entry, Store
from reconciler.store.lease import SessionKeeper
from reconciler.sync.config_view import is_object, owner_of

PATIENCE_S: Final = 30.0
LOST_S: Final = 75.0
"""Ours waits 30 s before a missing host is lost."""
OPEN_S: Final = 15.0
LEAVE_S: Final = 15.0
"""How long a scheduler gets at the end to take its tasks back."""
CLEAN_UPS: Final = 20
LAST_LOOK_S: Final = 0.3
LONGEST_NAME: Final = 40
"""Host names and ids are made of the cluster's name."""

PARTS: Final[dict[str, Callable[[Stage], None]]] = {
    "scale": script.scale,
    "update": script.update,
    "halt": script.halt,
    "numbers": script.numbers,
    "capacity": script.capacity,
    "ports": script.named_ports,
    "applying": troubles.applying,
    "drain": troubles.drain,
    "missing": troubles.missing,
    "lost": troubles.lost,
    "rest": script.rest,
    "fence": troubles.fence,
    "removal": troubles.removal,
}
"""In the order in which they are played."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found; the JSON form of it is stable. ``parts``: what was played; ``stopped``: why not all was."""

    cluster: str
    scheduler: str
    store: str
    parts: tuple[str, ...]
    stopped: str | None
    rules: tuple[Finding, ...]

    @property
    def is_kept(self) -> bool:
        """Whether no rule was broken and the script came to its end."""
        return self.stopped is None and not any(each.verdict is Verdict.BROKEN for each in self.rules)


def run(
    store: Store,
    *,
    cluster: str,
    scheduler: str,
    parts: Sequence[str] = (),
    patience_s: float = PATIENCE_S,
    lost_s: float = LOST_S,
    say: Say = lambda _: None,
    clock: Clock | None = None,
) -> Report:
    """Take the scheduler called ``scheduler`` through the script. ``parts``: only these, after the beginning.

    Raises:
        UsageError: the store holds something that is not this script's own, or a name makes no sense.
        StoreError: the store does not answer; what was made is removed if it can be.
    """
    clock = clock or SystemClock()
    _check(store, cluster, scheduler, parts)
    keeper = SessionKeeper(store, f"conformance {cluster}", clock=clock)
    keeper.start()
    try:
        if not keeper.wait_open(OPEN_S):
            raise StoreError(f"{store.url}: no session could be opened within {OPEN_S:g} s")
        source = ConfigSource(store, cluster, keeper)
        source.open()
        _remove_all(store, cluster, source.session)
        ledger = Ledger()
        stage = Stage(store, cluster, scheduler, source, ledger, clock, patience_s=patience_s, lost_s=lost_s, say=say)
        try:
            played, stopped = _play(stage, [name for name in PARTS if not parts or name in parts])
        finally:
            _leave(stage)
        source.close()
    finally:
        keeper.close()
    return Report(
        cluster=cluster,
        scheduler=scheduler,
        store=store.url,
        parts=tuple(played),
        stopped=stopped,
        rules=ledger.findings(),
    )


def _play(stage: Stage, names: Sequence[str]) -> tuple[list[str], str | None]:
    """Play the parts; which were played to their end, and why no more were."""
    played: list[str] = []
    try:
        stage.say("the beginning: two services on three hosts")
        script.first_placement(stage)
        for name in names:
            stage.say(f"{name}: {(PARTS[name].__doc__ or '').strip().splitlines()[0]}")
            script.base(stage)
            PARTS[name](stage)
            played.append(name)
    except NoProgress as error:
        return played, error.message
    return played, None


def _check(store: Store, cluster: str, scheduler: str, parts: Sequence[str]) -> None:
    """Refuse what would do harm, or could only mislead."""
    for what, name in (("cluster", cluster), ("scheduler", scheduler)):
        if not is_name(name) or len(name) > LONGEST_NAME:
            raise UsageError(
                f"{name!r} is no name for a {what} here",
                hint=f"letters, digits, dots, dashes and underscores, at most {LONGEST_NAME}",
            )
    if unknown := [part for part in parts if part not in PARTS]:
        raise UsageError(f"the script has no part {unknown[0]!r}", hint=f"It has {', '.join(PARTS)}.")
    foreign = [entry.key for entry in _objects(store) if owner_of(entry.value) != source_name(cluster)]
    hosts = {state.host for state in host_states(cluster)}
    foreign += [
        entry.key
        for prefix in (keys.HOST_STATES, keys.STATUSES)
        for entry in store.list(prefix).entries
        if entry.key.removeprefix(prefix) not in hosts
    ]
    begun = store.get(keys.source(source_name(cluster))) is not None
    heads = [entry.key for entry in store.list(keys.CLUSTER_HEADS).entries]
    foreign += [key for key in heads if not begun or key != keys.cluster_head(cluster)]
    foreign += [entry.key for entry in store.list(keys.TASKS).entries if not begun or _cluster_of(entry) != cluster]
    if foreign:
        raise UsageError(
            f"{store.url} is in use: it holds {foreign[0]}"
            + (f" and {len(foreign) - 1} more keys like that" if len(foreign) > 1 else ""),
            hint="This script pretends to have hosts, so nothing real may be scheduled beside it. Give it and the "
            "scheduler under test a place of their own, such as --store consul://127.0.0.1:8500/conformance.",
        )


def _cluster_of(record: Entry) -> str | None:
    try:
        if keys.is_preparation(record.key):
            return codec.decode(record.value, Preparation, record.key).cluster
        return codec.decode(record.value, Task, record.key).cluster
    except codec.Undecodable:
        return None


def _objects(store: Store) -> list[Entry]:
    return [entry for entry in store.list(keys.CONFIG).entries if is_object(entry.key)]


def _leave(stage: Stage) -> None:
    """Take back what is declared, let the scheduler take its tasks back, and remove the rest."""
    stage.say("cleaning up")
    stage.is_judging = False
    try:
        stage.declare(Declared())
        stage.until(lambda: not stage.picture.by_id and not stage.picture.by_host, LEAVE_S)
    finally:
        for host in stage.hosts.values():
            host.leave()
        _remove_all(stage.store, stage.cluster, stage.session)


def _remove_all(store: Store, cluster: str, session: str) -> None:
    """Remove every key that this run, an earlier one, or the scheduler made; by exact key, under the lock."""
    lock = keys.scheduler_lock(cluster)
    for _ in range(CLEAN_UPS):
        entry = store.get(lock)
        if entry is not None and entry.holder != session:
            store.commit([DeleteIf(lock, entry.index)])
        store.commit([Acquire(lock, b"conformance", session)])
        left = _leftovers(store, cluster)
        for entry in left:
            store.commit([DeleteIf(entry.key, entry.index)])
        if not left and (entry := store.get(lock)) is not None and entry.holder == session:
            store.commit([DeleteIf(lock, entry.index)])
            time.sleep(LAST_LOOK_S)  # somebody may have been about to take it for what is gone now
            if store.get(lock) is None:
                return
    raise StoreError(
        f"{store.url}: the keys of cluster {cluster} could not be removed: somebody goes on writing them",
        hint="End the scheduler under test, and run the same again.",
    )


def _leftovers(store: Store, cluster: str) -> list[Entry]:
    """Config first, so that a scheduler has no more reason to write the rest."""
    hosts = [state.host for state in host_states(cluster)]
    exact = [keys.source(source_name(cluster)), keys.cluster_head(cluster)]
    exact += [key for host in hosts for key in (keys.host_state(host), keys.status(host))]
    objects = [entry for entry in _objects(store) if owner_of(entry.value) == source_name(cluster)]
    # nobody else has tasks here: that was made sure before anything was written
    prefixes = (keys.TASKS, keys.rollouts_of_cluster(cluster))
    records = [entry for prefix in prefixes for entry in store.list(prefix).entries]
    return [*objects, *records, *(entry for key in exact if (entry := store.get(key)))]
