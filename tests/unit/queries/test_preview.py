"""What ``reconciler plan`` foresees, on a store with hosts; nothing here is written by a plan."""

import msgspec
import pytest

from reconciler.cli import plan_text
from reconciler.errors import StoreDenied, UsageError
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.task import Health, HostState, HostStatus, Phase, TaskStatus
from reconciler.operations import overrides
from reconciler.operations.overrides import Said
from reconciler.queries import snapshot_file
from reconciler.queries.preview import Preview, preview
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store import lease
from reconciler.store.interface import Acquire, Committed, Put, Store
from reconciler.store.memory import MemoryStore
from reconciler.sync.once import sync_once
from tests.support.scheduler_store import put
from tests.support.sync import ListedSource, definition, make_ours, manifest, revision, service

NOW = 1_700_000_000.0


@pytest.fixture
def store() -> Store:
    """A store with two hosts of 256 MiB, and a source ``fleet`` with one service of two tasks."""
    store = make_ours(MemoryStore())
    for name in ("one", "two"):
        state = HostState(
            host=name, machine=name, address="10.0.0.1", memory=256, cpu_units=4096, executors=("bash", "docker")
        )
        session = store.open_session(name, 600.0)
        key = keys.host_state(name)
        assert isinstance(store.commit([Acquire(key, encode(state), session.id)]), Committed)
    apply(store, files(desired=2))
    return store


def files(*, desired: int = 2, version: int = 1, memory: int = 64, port: int = 0, **numbers: int) -> dict[str, str]:
    content = {
        "clusters": [{"name": "main", "services": ["web"]}],
        "services": [service("web", version, desired, **numbers)],
        "task_definitions": [definition("web", version, memory=memory, port=port)],
    }
    return {"web.json": msgspec.json.encode(content).decode()}


def apply(store: Store, content: dict[str, str]) -> None:
    source = ListedSource("fleet", revision("r1", content))
    sync_once(store, source, clock=SystemClock(), emit=lambda _: None)


def look(store: Store, content: dict[str, str], source: str | None = None) -> Preview:
    return preview(store, [(name, text.encode()) for name, text in content.items()], source=source, now=NOW)


def test_the_same_manifests_change_nothing_and_tasks_that_do_not_run_yet_are_foreseen(store: Store) -> None:
    made = look(store, files())
    assert (made.source, made.changes, made.unchanged) == ("fleet", (), 3)
    assert (made.tasks.starts, made.tasks.stops, made.tasks.unplaced) == (2, 0, ())


def test_an_update_names_the_field_with_both_values_and_the_line(store: Store) -> None:
    (change,) = look(store, files(desired=3)).changes
    (field,) = change.fields
    assert (change.action, change.object) == ("update", "service web")
    assert change.origin is not None
    assert change.origin.startswith("web.json:1:")
    assert (field.path, field.before, field.after) == ("desired", 2, 3)


def test_what_does_not_fit_is_said_with_the_reason_only_for_what_the_change_brings(store: Store) -> None:
    made = look(store, files(desired=9))
    (unplaced,) = made.does_not_fit
    assert (unplaced.service, unplaced.count) == ("web", 1)
    assert "memory" in unplaced.reason
    apply(store, files(desired=9))
    again = look(store, files(desired=9))
    assert again.does_not_fit == ()
    assert again.tasks.unplaced == made.tasks.unplaced


def test_a_plan_against_a_snapshot_file_is_the_plan_against_the_store(store: Store) -> None:
    """Flux: no preview without giving CI access to the cluster."""
    document = snapshot_file.document(snapshot_file.freeze(store), NOW)
    frozen = snapshot_file.parse(msgspec.json.format(msgspec.json.encode(document)), "fleet.json")
    for content in (files(), files(desired=9), files(version=2), {"web.json": manifest(["other"])}):
        assert look(frozen, content) == look(store, content)
    with pytest.raises(StoreDenied):
        frozen.commit([Put("config/x", b"{}")])


def test_a_snapshot_holds_no_session_and_nothing_that_a_program_printed(store: Store) -> None:
    status = {"host": "one", "tasks": {"t": {"phase": "failed", "issue": 1, "reason": "password=x"}}, "notes": ["n"]}
    store.commit([Put(keys.status("one"), msgspec.json.encode(status))])
    entry = store.get(keys.host_state("one"))
    assert entry is not None
    assert entry.holder
    text = msgspec.json.encode(snapshot_file.document(snapshot_file.freeze(store), NOW))
    assert b"password" not in text
    assert entry.holder.encode() not in text


def test_a_file_that_is_no_snapshot_or_of_another_version_says_so() -> None:
    with pytest.raises(UsageError, match="is not a snapshot"):
        snapshot_file.parse(b"[1]", "x.json")
    with pytest.raises(UsageError, match="version 99"):
        snapshot_file.parse(b'{"version": 99}', "x.json")


def test_a_plan_never_writes(store: Store) -> None:
    def all_of() -> object:
        return [store.list(prefix).entries for prefix in (keys.CONFIG, keys.STATE)]

    before = all_of()
    look(store, files(desired=5))
    assert all_of() == before


def test_the_hash_is_that_of_the_changes_and_of_the_values_that_they_replace(store: Store) -> None:
    assert look(store, files(desired=3)).hash == look(store, files(desired=3)).hash
    assert look(store, files(desired=3)).hash != look(store, files(desired=4)).hash
    first = look(store, files(desired=3)).hash
    apply(store, files(desired=1))
    assert look(store, files(desired=3)).hash != first


def test_several_sources_ask_which_is_meant_and_apply_never_deletes(store: Store) -> None:
    sync_once(
        store,
        ListedSource("other", revision("o1", {"o.json": manifest(["api"], cluster="second")})),
        emit=lambda _: None,
    )
    with pytest.raises(UsageError, match="fleet, other"):
        look(store, files())
    by_hand = look(store, {"n.json": manifest(["new"], cluster="third")}, source="apply")
    assert {change.action for change in by_hand.changes} == {"create"}


def test_a_new_version_is_rolled_out_one_legal_step_after_the_other(store: Store) -> None:
    made = look(store, files(version=2))
    assert [change.action for change in made.changes] == ["create", "update"]
    assert made.kept == ("task definition web version 1",)
    assert made.tasks.starts == 2
    assert not made.tasks.unplaced


def test_a_plan_says_which_override_it_ends_and_plans_without_it_for_good(store: Store) -> None:
    overrides.scale(store, "web", 3, Said(by="ann", now=NOW))
    assert [each.text for each in look(store, files(desired=2, version=2)).overrides] == [
        "service web: desired 3 instead of 2"
    ]
    made = look(store, files(desired=1))
    assert "ends the override: service web: desired 3 instead of 2, by ann" in "\n".join(plan_text.text(made))
    assert (made.overrides, made.tasks.starts) == ((), 1)


def test_a_plan_says_that_it_ends_an_override_that_is_asleep(store: Store) -> None:
    overrides.scale(store, "web", 3, Said(by="ann", now=NOW))
    # a program of somebody else's wrote what sync has not seen: now it sleeps, until what is applied next takes it away
    value = msgspec.json.decode(store.get(keys.service("web")).value)  # type: ignore[union-attr]
    assert isinstance(store.commit([Put(keys.service("web"), encode(value | {"desired": 4}))]), Committed)
    made = look(store, files(desired=1, version=2))
    assert [(each.text, each.asleep) for each in made.ended] == [("service web: desired 3 instead of 2", True)]
    assert "asleep" in "\n".join(plan_text.text(made))
    assert look(store, files(desired=4, version=2)).ended == (), "its field is not changed"


@pytest.mark.parametrize(
    ("numbers", "port", "reason"),
    [
        (
            {"min": 2, "max": 2},
            0,
            "min = desired = max = 2, so no task may start or stop first: raise max or lower min",
        ),
        ({}, 80, "min = desired = 2 forbids to stop one first: lower min, or make room on a host"),
    ],
)
def test_a_plan_says_what_can_not_move(store: Store, numbers: dict[str, int], port: int, reason: str) -> None:
    apply(store, files(port=port, **numbers))
    session = store.open_session("scheduler", 600.0)
    assert lease.take(store, keys.scheduler_lock("main"), b"me", session.id)
    reading = Observer(store).read()
    view = view_of(reading.scene, "main")
    Applier(store, reading, view, session_id=session.id, now=NOW).apply(plan(view, NOW), lambda: False)
    for task in Observer(store).read().scene.snapshot.tasks:
        running = TaskStatus(phase=Phase.RUNNING, issue=task.issue, health=Health.PASSING)
        put(store, keys.status(task.host), HostStatus(host=task.host, tasks={task.id: running}))
    made = look(store, files(version=2, port=port, **numbers))
    assert (made.tasks.starts, made.tasks.stops) == (0, 0)
    assert any(reason in note for note in made.tasks.notes), made.tasks
    assert reason in "\n".join(plan_text.text(made))
