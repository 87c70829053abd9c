"""Two sources on one Consul, the real program on real repositories: they never fight, and hand over on order only."""

import json
import signal
import urllib.request
from collections.abc import Callable, Iterator

import msgspec
import pytest

from reconciler.errors import RevisionRefused
from reconciler.model import keys
from reconciler.model.intents import Adoption
from reconciler.operations import adopt
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, Put, Store
from reconciler.sync.once import sync_once
from tests.support.consul import ConsulAgent, Roles
from tests.support.git import GitRepository
from tests.support.program import Daemon, Program
from tests.support.sync import ListedSource, change, config, make_ours, manifest, revision, state, values
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

LATE_S = 60.0
MANY = [f"many-{number}" for number in range(250)]
"""With their definitions and the cluster, more than eight transactions."""


@pytest.fixture
def store(consul: ConsulAgent, program: Program) -> Iterator[Store]:
    """How the test looks at the program's store."""
    url = consul.new_url()
    program.use(url)
    program.ok("store", "init")
    with_store = open_store(url, environ={})
    yield with_store
    with_store.close()


@pytest.fixture
def sync(program: Program, store: Store) -> Callable[[GitRepository, str], Daemon]:
    """Starts a process for a source; each has a cache of its own."""

    def start(repository: GitRepository, name: str) -> Daemon:
        program.environ["XDG_CACHE_HOME"] = str(program.folder / f"cache-{len(program.daemons)}")
        options = ("--poll", "0.3", "--http", "127.0.0.1:0")
        return program.start("sync", "--git", repository.url, "--name", name, *options, name=name)

    return start


def problems(store: Store, source: str) -> str:
    return "\n".join(state(store, source).problems) if store.get(keys.source(source)) else ""


def is_applied(store: Store, source: str, commit: str) -> bool:
    if store.get(keys.source(source)) is None:
        return False
    recorded = state(store, source)
    return recorded.mark.settled and recorded.mark.revision == commit and not recorded.problems


def owners(store: Store) -> set[str]:
    return {thing["managed_by"] for thing in config(store).values()}


def test_lesson_1_5_two_sources_never_fight_and_hand_over_on_order_only_while_both_run(
    program: Program, store: Store, sync: Callable[..., Daemon], make_repository: Callable[..., GitRepository]
) -> None:
    old, new, third = (make_repository() for _ in range(3))
    head = old.commit({"web.json": manifest(["web"])})
    sync(old, "old")
    wait_until(lambda: is_applied(store, "old", head), what="the first source")
    new.commit({"web.json": manifest(["web"])})
    sync(new, "new")
    wait_until(lambda: problems(store, "new"), what="the conflict to be said")
    assert "managed by source old, and source new declares it as well" in problems(store, "new")

    # they go on looking, several times a second; a third one is not held up, and once it is done nobody writes
    third_head = third.commit({"third.json": manifest(["third"], cluster="third")})
    sync(third, "third")
    wait_until(lambda: is_applied(store, "third", third_head), what="the third source", timeout_s=LATE_S)
    before = {entry.key: entry.index for prefix in (keys.CONFIG, keys.SOURCES) for entry in store.list(prefix).entries}
    stored = store.get(keys.service("third"))
    assert stored is not None
    assert isinstance(store.commit([Put(keys.service("third"), change(stored.value, desired=9))]), Committed)
    wait_until(
        lambda: (now := store.get(keys.service("third"))) is not None and now.value == stored.value,
        what="all to be woken, and the third one to put its own right",
        timeout_s=LATE_S,
    )
    after = {entry.key: entry.index for prefix in (keys.CONFIG, keys.SOURCES) for entry in store.list(prefix).entries}
    assert {key for key in before if before[key] != after.get(key)} <= {
        keys.service("third"),
        keys.source("third"),
        keys.MOVED,
    }

    shown = program.ok("adopt", "new", "--from", "old", "--all", "--dry-run")
    assert "service web: source old → source new" in shown
    done = json.loads(program.ok("adopt", "new", "--from", "old", "--all", "--by", "ann", "--format", "json"))
    assert [each["object"] for each in done["adopted"]] == [
        "cluster main",
        "service web",
        "task definition web version 1",
    ]
    wait_until(lambda: "managed by source new" in problems(store, "old"), what="the old one to be told")
    assert config(store)["config/services/web"]["managed_by"] == "new"
    head = old.commit({"web.json": None, "rest.json": manifest(["rest"], cluster="rest")})
    wait_until(lambda: is_applied(store, "old", head), what="the old one to go on without it", timeout_s=LATE_S)
    assert config(store)["config/services/web"]["managed_by"] == "new"
    assert program.run("adopt", "new", "--from", "old", "--all").returncode == 1
    assert "nothing to adopt" in program.run("adopt", "new", "--from", "old", "--all").stderr


def test_lesson_1_6_a_rename_of_hundreds_of_objects_survives_a_kill_and_changes_nothing_else(
    program: Program, store: Store, sync: Callable[..., Daemon], repository: GitRepository
) -> None:
    head = repository.commit({"many.json": manifest(MANY)})
    before = sync(repository, "before")
    wait_until(lambda: is_applied(store, "before", head), what="all objects", timeout_s=LATE_S)
    assert before.stop() == 0
    there = {key: {**thing, "managed_by": ""} for key, thing in config(store).items()}
    first = sync(repository, "after")
    wait_until(lambda: "more problems" in first.output(), what="the refusal", timeout_s=LATE_S)

    ordered = program.run("adopt", "after", "--from", "before", "--all", "--timeout", "0.1")
    assert ordered.returncode in (0, 1)
    wait_until(lambda: "after" in owners(store), what="the handover to begin", timeout_s=LATE_S)
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    sync(repository, "after")
    wait_until(lambda: is_applied(store, "after", head), what="the handover to end", timeout_s=LATE_S)
    assert owners(store) == {"after"}
    assert {key: {**thing, "managed_by": ""} for key, thing in config(store).items()} == there
    assert store.get(keys.source("before")) is None
    assert [each.result for each in state(store, "after").history] == ["applied", "refused", "adopted"]


def metrics(daemon: Daemon) -> dict[str, float]:
    """What ``/metrics`` says, by series."""
    url = next(word for word in daemon.output().split() if word.startswith("http://127.0.0.1:"))
    with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}


def test_metrics_say_what_is_applied_and_what_fails(
    program: Program, store: Store, sync: Callable[..., Daemon], repository: GitRepository
) -> None:
    one = repository.commit({"web.json": manifest(["web"])})
    daemon = sync(repository, "fleet")
    compared, objects, wrong, failed = (
        'reconciler_sync_last_compare_timestamp_seconds{source="fleet"}',
        'reconciler_sync_objects{source="fleet"}',
        'reconciler_sync_problems{source="fleet"}',
        'reconciler_passes_total{loop="sync fleet",result="failed"}',
    )
    wait_until(lambda: is_applied(store, "fleet", one), what="the first commit")
    wait_until(lambda: compared in metrics(daemon), what="the first compare")
    said = metrics(daemon)
    assert said[f'reconciler_sync_revision_info{{revision="{one}",source="fleet"}}'] == 1
    assert (said[objects], said[wrong]) == (3, 0)
    wait_until(lambda: metrics(daemon)[compared] > said[compared], what="a pass with nothing new to count as a compare")

    two = repository.commit({"web.json": manifest(["web", "api"])})
    now = wait_until(lambda: (now := metrics(daemon))[objects] == 5 and now, what="the second commit", timeout_s=LATE_S)
    assert [name for name in now if "revision_info" in name] == [
        f'reconciler_sync_revision_info{{revision="{two}",source="fleet"}}'
    ]
    repository.commit({"web.json": "{"})
    wait_until(lambda: metrics(daemon)[wrong] == 1, what="the refusal", timeout_s=LATE_S)
    repository.path.rename(repository.path.with_name("away"))
    wait_until(lambda: metrics(daemon).get(failed, 0) > 0, what="a failure", timeout_s=LATE_S)
    assert metrics(daemon)[objects] == 5


def test_what_operators_said_can_not_be_read_so_nothing_is_written_and_all_else_goes_on(
    program: Program, store: Store, sync: Callable[..., Daemon], make_repository: Callable[..., GitRepository]
) -> None:
    fleet, other = make_repository(), make_repository()
    heads = fleet.commit({"web.json": manifest(["web"])}), other.commit({"x.json": manifest(["x"], cluster="x")})
    sync(fleet, "fleet")
    sync(other, "other")
    wait_until(lambda: is_applied(store, "fleet", heads[0]) and is_applied(store, "other", heads[1]), what="both")
    key = keys.source_intent("fleet")
    store.commit([Put(key, b'{"source": 7}')])
    store.commit([Put(keys.wake("fleet"), b'{"id": "1"}')])
    before = values(store, keys.CONFIG)
    wait_until(lambda: key in problems(store, "fleet"), what="the reason to be recorded", timeout_s=LATE_S)
    fleet.commit({"web.json": manifest(["web"], desired=5)})
    second = other.commit({"x.json": manifest(["x"], cluster="x", desired=4)})
    wait_until(lambda: is_applied(store, "other", second), what="the other source to go on", timeout_s=LATE_S)
    shown = program.run("status")
    assert shown.returncode == 1
    assert f"{key} in the store is not a SourceIntent" in shown.stdout
    assert "reconciler resume fleet --discard" in shown.stdout
    for command in ("tasks", "hosts"):
        program.ok(command)
    suspend = program.run("suspend", "fleet")
    assert suspend.returncode == 2
    assert "reconciler resume fleet --discard" in suspend.stderr
    assert values(store, keys.CONFIG)[keys.service("web")] == before[keys.service("web")]
    program.ok("resume", "fleet", "--discard")
    wait_until(lambda: config(store)[keys.service("web")]["desired"] == 5, what="sync to go on", timeout_s=LATE_S)
    wait_until(lambda: not problems(store, "fleet"), what="the problem to be over")


def test_the_policies_for_sync_and_operators_are_all_that_an_adoption_needs(roles: Roles) -> None:
    everything = roles.store("management")
    make_ours(everything)
    as_sync, as_operator = roles.store("sync"), roles.store("operator")
    old, new = (ListedSource(name, revision("r1", {"x.json": manifest(["web"])})) for name in ("old", "new"))
    sync_once(as_sync, old, emit=lambda _: None)
    lost = config(everything)["config/services/web"] | {"managed_by": "lost"}  # of a source of which nothing is known
    everything.commit([Put(keys.service("web"), msgspec.json.encode(lost, order="sorted"))])
    with pytest.raises(RevisionRefused, match="managed by source old"):
        sync_once(as_sync, new, emit=lambda _: None)
    adoption = Adoption(origins=("old", "lost"), by="ann", since=1.0)
    had = adopt.owners_of(as_operator, adoption.origins)
    proposal = adopt.propose(as_operator, "new", adoption)
    adopt.order(as_operator, "new", adoption)
    sync_once(as_sync, new, emit=lambda _: None)
    assert adopt.look(as_operator, "new", adoption) == (True, "")
    assert adopt.conclude(as_operator, proposal, adoption, had).ended == ("old", "lost")
    assert owners(everything) == {"new"}
    assert not everything.list(keys.provenance_of_source("old")).entries
    for store in (everything, as_sync, as_operator):
        store.close()
