"""A process that ends at any write of a pass: the next one brings the store to the same end as if nothing had happened.

And what a reader may conclude on the way: a whole revision, or nothing.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest

from reconciler.errors import StoreError
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.source_state import SourceState
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import CommitResult, DeleteIf, Held, Operation, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.nasty import Nasty
from reconciler.sync.passes import SourceSync
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    config,
    declared_in,
    dies_at,
    hold,
    is_provenance,
    make_ours,
    manifest,
    revision,
    state,
)

Connect = Callable[[], Store]

NAMES = [f"s{number}" for number in range(30)]
FIRST = revision("r1", {"main.json": manifest(NAMES[:20])})
SECOND = revision("r2", {"main.json": manifest(NAMES[7:], desired=2), "more.json": manifest(["x"], cluster="second")})
THIRD = revision("r3", {"main.json": manifest(NAMES[13:], desired=3)})
OPERATIONS = 10
"""A commit takes so few here, so that a small revision takes many commits."""


def run(store: Store, source: ListedSource, fence: Held) -> None:
    sync = SourceSync(store, source, clock=SystemClock(), emit=lambda _: None)
    sync.run(fence, source.read(), is_confirmed=True)


def end_of(store: Store) -> tuple[object, ...]:
    """Everything that must be the same at the end, however one got there.

    Stamps and the counter may differ, and definitions that nobody declares any more: they are only there if the
    revision that had them was begun.
    """
    recorded = state(store, "fleet")
    mark = recorded.mark
    stored = config(store)
    retired = {keys.TASK_DEFINITIONS + name for name in recorded.retired}
    assert retired <= stored.keys()
    assert len(stored) == mark.counts.total
    declared = {key: thing for key, thing in stored.items() if key not in retired}
    return declared, mark.settled, mark.revision, mark.to, recorded.seen, declared_in(store, "fleet")


def give_up(store: Store, fence: Held) -> None:
    """The session of a process that is gone ends some time later; here: now."""
    entry = store.get(fence.key)
    assert entry is not None
    store.commit([DeleteIf(fence.key, entry.index)])


def whole_or_undecided(store: Store, revisions: dict[str, dict[str, object]]) -> bool:
    """Rule 2 for a single reading: undecided, or exactly one revision (and retired definitions)."""
    recorded = state(store, "fleet")
    if not recorded.mark.settled:
        return False
    stored = config(store)
    retired = {keys.TASK_DEFINITIONS + name for name in recorded.retired}
    assert {key: thing for key, thing in stored.items() if key not in retired} == revisions[recorded.mark.revision]
    return True


def commits_of(
    connect: Connect, before: Sequence[ListedSource], source: ListedSource
) -> tuple[int, tuple[object, ...]]:
    """How many commits a pass takes when nothing happens, and how it ends."""
    store = connect()
    fence = hold(store, "fleet")
    for each in before:
        run(store, each, fence)
    watched = WatchedStore(store, operations=OPERATIONS)
    run(watched, source, fence)
    return len(watched.commits), end_of(store)


STEPS = {
    "the first revision": ([], ListedSource("fleet", FIRST), ListedSource("fleet", FIRST)),
    "the next revision": (
        [ListedSource("fleet", FIRST)],
        ListedSource("fleet", FIRST, SECOND),
        ListedSource("fleet", FIRST, SECOND),
    ),
    "a newer one comes meanwhile": (
        [ListedSource("fleet", FIRST)],
        ListedSource("fleet", FIRST, SECOND),
        ListedSource("fleet", FIRST, SECOND, THIRD),
    ),
}


@pytest.mark.parametrize("moment", ["before it is carried out", "after it was carried out"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_write_the_next_process_comes_to_the_same_end(
    new_store: Callable[[], Connect], step: str, moment: str
) -> None:
    before, source, later = STEPS[step]
    count, _ = commits_of(new_store(), before, source)
    _, end = commits_of(new_store(), [*before, source], later)
    assert count > 3, "one transaction would prove little"

    for fatal in range(1, count + 1):
        connect = new_store()
        dying, next_one = connect(), connect()
        fence = hold(dying, "fleet")
        for each in before:
            run(dying, each, fence)
        with pytest.raises(Killed):
            run(WatchedStore(dying, dies_at(fatal, moment), operations=OPERATIONS), source, fence)
        give_up(dying, fence)
        run(next_one, later, hold(next_one, "fleet"))
        assert end_of(next_one) == end, f"killed at write {fatal} of {count}"


def test_killed_again_and_again_it_still_comes_to_the_end(new_store: Callable[[], Connect]) -> None:
    source = ListedSource("fleet", FIRST, SECOND)
    connect = new_store()
    _, end = commits_of(new_store(), [ListedSource("fleet", FIRST)], source)
    store = connect()
    fence = hold(store, "fleet")
    run(store, ListedSource("fleet", FIRST), fence)
    give_up(store, fence)

    def die(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if number == 2:
            raise Killed
        return go()

    for _ in range(50):
        store = connect()
        fence = hold(store, "fleet")
        try:
            run(WatchedStore(store, die, operations=OPERATIONS), source, fence)
            break
        except Killed:
            give_up(store, fence)
    assert end_of(store) == end


@pytest.mark.parametrize("seed", range(40))
def test_rule_15_lost_and_late_answers_change_nothing_about_the_end(seed: int) -> None:
    space = MemorySpace()
    calm = MemoryStore(space)
    make_ours(calm)
    fence = hold(calm, "fleet")
    nasty = WatchedStore(MemoryStore(space, nasty=Nasty(seed=seed, lost_answer=0.3)), operations=OPERATIONS)
    source = ListedSource("fleet")
    sync = SourceSync(nasty, source, clock=SystemClock(), emit=lambda _: None)
    for each in (FIRST, SECOND, THIRD):
        source.revisions.append(each)
        for _ in range(100):
            with suppress(StoreError):
                sync.run(fence, each, is_confirmed=True)
                break
    for _ in range(20):
        nasty.get(keys.CONFIG_SENTINEL)  # whatever is still on its way arrives

    clean = make_ours(MemoryStore(MemorySpace()))
    fence = hold(clean, "fleet")
    for number in (1, 2, 3):
        run(clean, ListedSource("fleet", *(FIRST, SECOND, THIRD)[:number]), fence)
    assert end_of(calm) == end_of(clean)


@pytest.fixture
def expected(new_store: Callable[[], Connect]) -> dict[str, dict[str, object]]:
    """What a reader may see of each revision."""
    answer = {}
    for each in (FIRST, SECOND, THIRD):
        store = new_store()()
        run(store, ListedSource("fleet", each), hold(store, "fleet"))
        answer[each.id] = config(store)
    return answer


def test_rule_02_at_no_write_does_a_reader_see_a_mix(
    new_store: Callable[[], Connect], expected: dict[str, dict[str, object]]
) -> None:
    connect = new_store()
    writer, reader = connect(), connect()
    seen: list[bool] = []

    def look(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        answer = go()
        if not is_provenance(operations):
            seen.append(whole_or_undecided(reader, expected))
        return answer

    fence = hold(writer, "fleet")
    for source in (
        ListedSource("fleet", FIRST),
        ListedSource("fleet", FIRST, SECOND),
        ListedSource("fleet", FIRST, SECOND, THIRD),
    ):
        run(WatchedStore(writer, look, operations=OPERATIONS), source, fence)
    assert seen.count(True) == 3
    assert seen.count(False) >= 6


def readings(store: Store, ended: threading.Event) -> Iterator[tuple[SourceState, dict[str, object]]]:
    """What a reader that follows rule 2 decides from: settled marks that did not move while it read."""
    while not ended.is_set():
        before = store.list(keys.SOURCES).entries
        stored = config(store)
        after = store.list(keys.SOURCES).entries
        if before != after or not after:
            continue
        recorded = decode(after[0].value, SourceState, after[0].key)
        if recorded.mark.settled:
            yield recorded, stored


def test_rule_02_a_reader_beside_a_writer_never_decides_from_a_mix(
    new_store: Callable[[], Connect], expected: dict[str, dict[str, object]]
) -> None:
    connect = new_store()
    ended = threading.Event()
    mixes: list[str] = []
    whole: list[str] = []

    def read() -> None:
        for recorded, stored in readings(connect(), ended):
            retired = {keys.TASK_DEFINITIONS + name for name in recorded.retired}
            shown = {key: thing for key, thing in stored.items() if key not in retired}
            (whole if shown == expected[recorded.mark.revision] else mixes).append(recorded.mark.revision)

    writer = WatchedStore(connect(), operations=OPERATIONS)
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    fence = hold(writer, "fleet")
    rng = random.Random(7)
    history = [FIRST]
    try:
        for _ in range(12):
            run(writer, ListedSource("fleet", *history), fence)
            history = [each for each in history if each is not (new := rng.choice((FIRST, SECOND, THIRD)))] + [new]
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert mixes == []
    assert whole
