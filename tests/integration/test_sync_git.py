"""Git to store: real repositories, real daemons, on the embedded store and on a real Consul."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.store.connect import open_store
from reconciler.store.interface import Put, Store
from reconciler.sync.loop import SyncDaemon
from tests.support.git import GitRepository
from tests.support.sync import WatchedStore, change, config, make_ours, manifest, state, values
from tests.support.wait import wait_until

POLL_S = 0.2
Connect = Callable[[], Store]
Start = Callable[..., SyncDaemon]


@pytest.fixture(params=["sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Makes connections to one store with sentinels; each stands for a process."""
    url = f"sqlite://{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("consul").new_url()
    stores: list[Store] = []

    def connect() -> Store:
        stores.append(open_store(url, environ={}))
        return stores[-1]

    make_ours(connect())
    yield connect
    for store in stores:
        store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    """How the test itself looks at it."""
    return connect()


@pytest.fixture
def start(connect: Connect, repository: GitRepository, tmp_path: Path) -> Iterator[Start]:
    """Starts daemons on the repository."""
    daemons: list[SyncDaemon] = []

    def make(
        *, path: str = "", name: str = "fleet", cache: str = "cache", store: Store | None = None, **target: str
    ) -> SyncDaemon:
        source = GitSource(name, git_remote(repository.url, **target), cache=tmp_path / cache, path=path)
        events: list[Event] = []
        daemon = SyncDaemon(store or connect(), source, emit=events.append, poll_s=POLL_S)
        daemons.append(daemon)
        daemon.start()
        return daemon

    yield make
    for daemon in daemons:
        daemon.stop()


def applied(store: Store, source: str = "fleet") -> str:
    entry = store.get(keys.source(source))
    if entry is None:
        return ""
    recorded = state(store, source)
    return recorded.mark.revision if recorded.mark.settled else ""


def arrives(store: Store, commit: str, source: str = "fleet") -> None:
    wait_until(lambda: applied(store, source) == commit, what=f"{commit} in the store", timeout_s=30)


def test_a_commit_lands_within_a_poll(store: Store, start: Start, repository: GitRepository) -> None:
    first = repository.commit({"web.json": manifest(["web"])}, message="Run web")
    start()
    arrives(store, first)
    recorded = state(store, "fleet")
    assert (recorded.kind, recorded.location) == ("git", repository.url)
    assert (recorded.subject, recorded.author) == ("Run web", "Ann Author")
    second = repository.commit({"web.json": manifest(["web", "api"], desired=3)})
    arrives(store, second)
    stored = config(store)
    assert stored["config/clusters/main"]["services"] == ["web", "api"]
    assert stored["config/services/web"]["desired"] == 3


def test_an_invalid_commit_leaves_config_as_it_was_and_says_why(
    store: Store, start: Start, repository: GitRepository
) -> None:
    """Flux: one bad file blocked everything, and errors came one at a time."""
    first = repository.commit({"web.json": manifest(["web"])})
    start()
    arrives(store, first)
    before = values(store, keys.CONFIG)
    bad = repository.commit(
        {"web.json": manifest(["web"], desired=9), "broken.yml": "services:\n- name: api\n  task: x\n"}
    )
    wait_until(lambda: state(store, "fleet").seen == bad, what="the bad commit to be seen")
    recorded = state(store, "fleet")
    assert (recorded.mark.revision, recorded.mark.settled) == (first, True)
    assert recorded.problems[0].startswith("broken.yml:")
    assert values(store, keys.CONFIG) == before
    good = repository.commit({"broken.yml": None})
    arrives(store, good)
    assert state(store, "fleet").problems == ()
    assert config(store)["config/services/web"]["desired"] == 9


def test_what_is_removed_goes_and_what_is_not_ours_stays(store: Store, start: Start, repository: GitRepository) -> None:
    """git2consul: deleting a prefix wiped its siblings, even the whole store."""
    foreign = {
        "config/services/we": b'{"name":"we"}',
        "config/services/webshop": b'{"name":"webshop"}',
        "config/x/y": b"z",
    }
    store.commit([Put(key, value) for key, value in foreign.items()])
    first = repository.commit({"a/web.json": manifest(["web"]), "b/api.json": manifest(["api"], cluster="other")})
    start()
    arrives(store, first)
    start(path="b", name="second")  # another source of the same repository: it finds all of it taken
    wait_until(lambda: store.get(keys.source("second")), what="the second source to say something")
    (problem, *_) = state(store, "second").problems
    assert "is managed by source" in problem
    second = repository.commit({"a/web.json": manifest(["shop"])})
    arrives(store, second)
    stored = values(store, keys.CONFIG)
    assert "config/services/web" not in stored
    assert "config/services/shop" in stored
    assert {key: stored[key] for key in foreign} == foreign


def test_several_sources_of_one_repository_keep_to_their_paths(
    store: Store, start: Start, repository: GitRepository
) -> None:
    first = repository.commit({"a/x.json": manifest(["a1"], cluster="a"), "b/x.json": manifest(["b1"], cluster="b")})
    start(path="a", name="one")
    start(path="b", name="two")
    arrives(store, first, "one")
    arrives(store, first, "two")
    second = repository.commit({"a/x.json": manifest(["a2"], cluster="a")})
    arrives(store, second, "one")
    arrives(store, second, "two")
    assert {key: thing["managed_by"] for key, thing in config(store).items() if key.startswith(keys.SERVICES)} == {
        "config/services/a2": "one",
        "config/services/b1": "two",
    }


def test_moving_a_file_changes_no_object(store: Store, start: Start, repository: GitRepository) -> None:
    """Argo CD: a rename restarted everything."""
    arrives_first = repository.commit({"web.json": manifest(["web"])})
    start()
    arrives(store, arrives_first)
    before = [(entry.key, entry.index) for entry in store.list(keys.CONFIG).entries]
    repository.git("mv", "web.json", "renamed.json")
    second = repository.commit()
    arrives(store, second)
    assert [(entry.key, entry.index) for entry in store.list(keys.CONFIG).entries] == before


def test_rule_03_a_force_push_is_followed_and_history_shows_it(
    store: Store, start: Start, repository: GitRepository, tmp_path: Path
) -> None:
    first = repository.commit({"web.json": manifest(["web"])})
    dropped = repository.commit({"web.json": manifest(["web"], desired=5)})
    daemon = start()
    arrives(store, dropped)
    repository.git("reset", "--quiet", "--hard", first)
    rewritten = repository.commit({"web.json": manifest(["web"], desired=2)})
    arrives(store, rewritten)
    assert (
        state(store, "fleet").history[-1].detail == f"the history was rewritten: {dropped[:12]} is no longer part of it"
    )
    daemon.stop()
    # and by a process that never saw what was dropped
    repository.git("reset", "--quiet", "--hard", first)
    once_more = repository.commit({"web.json": manifest(["web"], desired=3)})
    start(cache="another")
    arrives(store, once_more)
    assert config(store)["config/services/web"]["desired"] == 3


def test_git_going_away_deletes_nothing_and_its_return_is_noticed(
    store: Store, start: Start, repository: GitRepository
) -> None:
    """git2consul: what could not be read for a moment was taken for deleted."""
    first = repository.commit({"web.json": manifest(["web"])})
    start()
    arrives(store, first)
    before = values(store, keys.CONFIG)
    away = repository.path.rename(repository.path.with_name("away"))
    wait_until(lambda: state(store, "fleet").problems, what="the failure to be recorded")
    assert "no git repository" in state(store, "fleet").problems[0]
    store.commit([Put("config/services/web", change(before["config/services/web"], desired=9))])
    wait_until(lambda: values(store, keys.CONFIG) == before, what="an edit by hand to be undone all the same")
    away.rename(repository.path)
    second = repository.commit({"web.json": manifest(["web"], desired=2)})
    arrives(store, second)
    assert state(store, "fleet").problems == ()


def test_a_revision_that_cannot_be_read_as_a_whole_writes_no_config(
    store: Store, start: Start, repository: GitRepository, tmp_path: Path
) -> None:
    first = repository.commit({"web.json": manifest(["web"])})
    start()
    arrives(store, first)
    before = values(store, keys.CONFIG)
    (tmp_path / "outside.json").write_text(manifest(["evil"]))
    (repository.path / "web.json").unlink()
    (repository.path / "web.json").symlink_to(tmp_path / "outside.json")
    repository.commit()
    wait_until(lambda: state(store, "fleet").problems, what="the refusal to be recorded")
    assert "web.json is a symbolic link" in state(store, "fleet").problems[0]
    assert values(store, keys.CONFIG) == before


def test_rule_02_beside_a_running_sync_a_reader_sees_whole_revisions_only(
    connect: Connect, start: Start, repository: GitRepository
) -> None:
    """git2consul, consul-template: half of a configuration was live for seconds.

    More than 64 operations a revision, so that each takes several transactions.
    """
    one, two = [f"one-{number}" for number in range(80)], [f"two-{number}" for number in range(80)]
    store, reader = connect(), connect()
    ended = threading.Event()
    mixes: list[set[str]] = []
    whole = 0

    def read() -> None:
        nonlocal whole
        while not ended.is_set():
            before = reader.list(keys.SOURCES).entries
            services = {entry.key.removeprefix(keys.SERVICES) for entry in reader.list(keys.SERVICES).entries}
            after = reader.list(keys.SOURCES).entries
            if before != after or not after or not state(reader, "fleet").mark.settled:
                continue
            if reader.list(keys.SOURCES).entries != after:
                continue
            whole += services in (set(one), set(two))
            if services not in (set(one), set(two)):
                mixes.append(services)

    arrives_first = repository.commit({"web.json": manifest(one)})
    thread = threading.Thread(target=read)
    thread.start()
    try:
        start()
        arrives(store, arrives_first)
        for names in (two, one, two):
            arrives(store, repository.commit({"web.json": manifest(names)}))
    finally:
        ended.set()
        thread.join(30)
    assert mixes == []
    assert whole


def test_once_converged_nothing_is_written(
    store: Store, connect: Connect, start: Start, repository: GitRepository
) -> None:
    first = repository.commit({"web.json": manifest(["web"])})
    watched = WatchedStore(connect())
    daemon = start(store=watched)
    arrives(store, first)
    wait_until(lambda: daemon.loops[0].age_s() is not None, what="the first pass to end")
    fetches: list[int] = []
    original = daemon._source.read
    daemon._source.read = lambda: fetches.append(1) or original()  # type: ignore[method-assign,func-returns-value]
    wait_until(lambda: len(fetches) > 2, what="what its own writes woke to be over")
    commits, parsed = len(watched.commits), daemon.parsed_files
    wait_until(lambda: len(fetches) > 12, what="ten more polls", timeout_s=60)
    assert (len(watched.commits), daemon.parsed_files) == (commits, parsed)
