"""Why things are as they are: where they are declared, what they wait for, why hosts refuse, in data and in text."""

import re
from collections.abc import Callable

import msgspec
import pytest

from reconciler.cli import explain_text
from reconciler.errors import UsageError
from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.task import ClusterHead, Health, HostStatus, Phase, TaskStatus
from reconciler.queries import provenance
from reconciler.queries.explain import Answer, explain
from reconciler.queries.explain_host import HostAnswer
from reconciler.queries.explain_service import ServiceAnswer
from reconciler.queries.explain_task import TaskAnswer
from reconciler.queries.fleet import read
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store import lease
from reconciler.store.interface import Store
from reconciler.store.memory import MemoryStore
from reconciler.sync.passes import SourceSync
from tests.support.scheduler_store import PretendAgents, declare, put
from tests.support.scheduler_store import tasks as records
from tests.support.scheduler_world import definition as declared_definition
from tests.support.sync import ListedSource, hold, make_ours, revision

NOW = 1_000_000.0
MAIN = """\
clusters:
- name: main
  services: [web]
services:
- name: web
  task_name: web
  task_version: {version}
  desired: {desired}
hosts:
- name: h1
  tags: {{zone: a}}
  reserved_memory: 96
"""
WEB = """\
task_definitions:
- name: web
  version: {version}
  memory: 300
  provide_port: true
  containers:
  - {{name: main, type: bash, executor: {{start: [sleep 9]}}}}
"""

Schedule = Callable[[], None]


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


@pytest.fixture
def schedule(store: Store) -> Schedule:
    session = store.open_session("scheduler", 3600.0)

    def act() -> None:
        assert lease.take(store, keys.scheduler_lock("main"), b"somebody:1", session.id)
        reading = Observer(store).read()
        view = view_of(reading.scene, "main")
        Applier(store, reading, view, session_id=session.id, now=NOW).apply(plan(view, NOW), lambda: False)

    return act


def commit(store: Store, source: ListedSource, **more: int) -> None:
    """One more revision, applied."""
    values = {"version": 1, "desired": 2} | more
    version = values["version"]
    files = dict.fromkeys(f"web-{each}.yml" for each in range(1, version + 1))
    source.revisions.append(
        revision(
            f"r{len(source.revisions) + 1}",
            {name: WEB.format(version=number) for number, name in enumerate(files, 1)}
            | {"main.yml": MAIN.format(**values)},
        )
    )
    sync(store, source)


def sync(store: Store, source: ListedSource) -> None:
    """A pass over the newest revision."""
    lock = store.get(keys.sync_lock("fleet"))
    fence = lease.fence(lock.key, lock.holder) if lock and lock.holder else hold(store, "fleet")
    SourceSync(store, source, clock=SystemClock(), emit=lambda _: None).run(fence, source.read(), is_confirmed=True)


@pytest.fixture
def agents(store: Store, schedule: Schedule) -> PretendAgents:
    """A fleet of one host with room for two of the web, and one that can't run it."""
    agents = PretendAgents(store, "h1", memory=800)
    PretendAgents(store, "h2", executors=("docker",))
    commit(store, ListedSource("fleet"))
    schedule()
    agents.tick()
    return agents


def ask(store: Store, name: str) -> Answer:
    answer = explain(read(store, NOW), provenance.read(store), name)
    shown = list(explain_text.lines(answer))
    assert all(len(line) <= explain_text.WIDTH for line in shown), "it fits a terminal"
    assert msgspec.json.decode(msgspec.json.encode(answer))["kind"] in ("service", "task", "host")
    return answer


def text(answer: Answer) -> str:
    """All of it on one line, so that it does not matter where lines break."""
    return re.sub(r"\s+", " ", " ".join(explain_text.lines(answer)))


def test_a_service_begins_with_file_line_commit_and_author_of_each_object(store: Store, agents: PretendAgents) -> None:
    answer = ask(store, "web")
    assert isinstance(answer, ServiceAnswer)
    assert [(each.object, each.file, each.line, each.commit, each.author) for each in answer.origins] == [
        ("cluster main", "main.yml", 2, "r1", "Ann"),
        ("service web", "main.yml", 5, "r1", "Ann"),
        ("task definition web version 1", "web-1.yml", 2, "r1", "Ann"),
    ]
    [main] = answer.clusters
    assert (main.ok, main.desired, main.min, main.max, main.healthy) == (True, 2, 2, 3, 2)
    shown = list(explain_text.lines(answer))
    assert shown[:4] == ["service web", "", "Declared in", "  cluster main: main.yml:2"]
    assert "commit r1 by Ann" in shown[4]


def test_a_task_without_a_place_says_of_every_host_why_with_the_numbers(
    store: Store, schedule: Schedule, agents: PretendAgents
) -> None:
    commit(store, ListedSource("fleet"), desired=3)
    schedule()
    answer = ask(store, "service/web")
    assert isinstance(answer, ServiceAnswer)
    [unplaced] = answer.clusters[0].unplaced
    assert unplaced.count == 1
    assert {each.host: (each.filter, each.reason) for each in unplaced.hosts} == {
        "h1": ("memory", "300 MiB of memory needed, 104 of 704 MiB free"),
        "h2": ("executors", "no executor bash, only docker"),
    }
    assert "1 task of web version 1 without a place h1: 300 MiB of memory needed, 104 of 704" in text(answer)
    host = ask(store, "h2")
    assert isinstance(host, HostAnswer)
    [refused] = host.refused
    assert (refused.service, refused.count, refused.reason) == ("web", 1, "no executor bash, only docker")


def test_a_rollout_says_what_it_waits_for(store: Store, schedule: Schedule, agents: PretendAgents) -> None:
    PretendAgents(store, "h3", memory=2000)
    source = ListedSource("fleet")
    commit(store, source)
    commit(store, source, version=2)
    schedule()
    schedule()
    answer = ask(store, "web")
    assert isinstance(answer, ServiceAnswer)
    [main] = answer.clusters
    assert main.rollout is not None
    assert (main.rollout.target_version, main.rollout.phase) == (2, "rolling")
    [new] = [task for task in main.tasks if task.task_version == 2]
    assert main.waits_for == (f"waits until {new.id} on h3 is healthy: not yet seen by the agent on h3",)
    assert any("version 2" in decision.what for decision in main.decisions)
    assert [each.object for each in answer.origins][-2:] == [
        "task definition web version 1",
        "task definition web version 2",
    ]


def test_a_task_says_why_it_is_there_and_what_its_check_said(store: Store, agents: PretendAgents) -> None:
    PretendAgents(store, "h3", memory=2000)
    said = "GET http://10.0.0.1:20001/ answered 500\nno database"
    agents.sick["main-web-1-0"] = TaskStatus(
        phase=Phase.RUNNING, issue=1, health=Health.CRITICAL, reason=said, attempt=3, since=NOW
    )
    agents.tick()
    answer = ask(store, "1-0")
    assert isinstance(answer, TaskAnswer)
    assert (answer.id, answer.host, answer.health, answer.attempt, answer.reason) == (
        "main-web-1-0", "h1", "critical", 3, said,
    )  # fmt: skip
    assert (answer.is_wanted, answer.memory, answer.port > 0) == (True, 300, True)
    assert any("first placement" in decision.why for decision in answer.decisions)
    assert ([each.host for each in answer.other_hosts], answer.with_room) == (["h2"], ("h3",))
    assert [each.object for each in answer.origins][-1] == "host h1"
    assert "    no database" in list(explain_text.lines(answer)), "lines of a program's output stay lines"


def test_what_is_told_of_a_whole_host_is_told_of_each_that_started_there(store: Store, agents: PretendAgents) -> None:
    found = store.get(keys.cluster_head("main"))
    assert found is not None
    head = codec.decode(found.value, ClusterHead)
    here, elsewhere = (
        msgspec.structs.replace(
            head.decisions[-1], service="", what=f"start 9 tasks on {host} (main-a-1-0, main-b-1-0 and 7 more)"
        )
        for host in ("h1", "h2")
    )
    put(store, found.key, msgspec.structs.replace(head, decisions=(here, elsewhere)))
    task, service = ask(store, "main-web-1-0"), ask(store, "web")
    assert isinstance(task, TaskAnswer)
    assert isinstance(service, ServiceAnswer)
    assert task.decisions == service.clusters[0].decisions == (here,)


def test_a_task_that_its_host_still_stops_is_known(store: Store, schedule: Schedule, agents: PretendAgents) -> None:
    commit(store, ListedSource("fleet"), desired=1)
    before = {task.id for task in records(store)}
    schedule()
    [gone] = before - {task.id for task in records(store)}
    put(
        store,
        keys.status("h1"),
        HostStatus(host="h1", tasks={gone: TaskStatus(phase=Phase.STOPPING, issue=1, memory=300)}),
    )
    answer = ask(store, gone)
    assert isinstance(answer, TaskAnswer)
    assert (answer.issued, answer.phase, answer.service) == (False, "stopping", "web")
    host = ask(store, "h1")
    assert isinstance(host, HostAnswer)
    assert [each.id for each in host.leaving] == [gone]
    put(store, keys.status("h1"), HostStatus(host="h1"))
    with pytest.raises(UsageError, match="there is no service, task or host called") as raised:
        ask(store, gone)
    assert f"stop {gone} on h1" in (raised.value.hint or ""), "what became of it is still known"


def test_a_host_says_what_it_has_and_what_is_promised(store: Store, agents: PretendAgents) -> None:
    answer = ask(store, "h1")
    assert isinstance(answer, HostAnswer)
    memory = answer.memory
    assert (memory.total, memory.reserved, memory.used, memory.free) == (800, 96, 600, 104)
    assert (answer.present, answer.draining, answer.tags) == (True, False, {"zone": "a"})
    assert [each.id for each in answer.tasks] == ["main-web-1-0", "main-web-1-1"]
    assert (answer.origins[0].file, answer.origins[0].line) == ("main.yml", 10)
    declare(store, Host(name="h1", draining=True))
    agents.down("h1")
    gone = ask(store, "h1")
    assert isinstance(gone, HostAnswer)
    assert (gone.present, gone.draining) == (False, True)
    assert any("its agent is gone" in reason for reason in gone.waits_for)
    assert any(reason.startswith("draining: 2 tasks go") for reason in gone.waits_for)
    assert "written to the store by another program" in text(gone)


def test_an_ambiguous_name_and_an_unknown_one_say_what_is_meant(store: Store, agents: PretendAgents) -> None:
    with pytest.raises(UsageError, match="main-web may mean task/main-web-1-0, task/main-web-1-1"):
        ask(store, "main-web")
    with pytest.raises(UsageError) as raised:
        ask(store, "wbe")
    assert (raised.value.hint, raised.value.exit_code) == ("Did you mean web?", 2)
    with pytest.raises(UsageError, match="there is no kind 'node'"):
        ask(store, "node/h1")
    declare(
        store,
        declared_definition("h1", 1),
        Service(name="h1", task_name="h1", task_version=1, desired=0),
        Cluster(name="other", services=("h1",)),
    )
    with pytest.raises(UsageError, match="h1 may mean service/h1, host/h1"):
        ask(store, "h1")
    assert isinstance(ask(store, "host/h1"), HostAnswer)
    assert isinstance(ask(store, "service/h1"), ServiceAnswer)


def test_what_is_not_recorded_or_not_declared_is_said(store: Store, agents: PretendAgents) -> None:
    declare(store, Cluster(name="main", services=("web", "ghost")))
    answer = ask(store, "ghost")
    assert isinstance(answer, ServiceAnswer)
    assert "service ghost: not declared" in text(answer)
    assert answer.clusters[0].waits_for[-1] == "cluster main names it, but it is not declared"
    assert not read(store, NOW).scene.tasks.get("main", {}).get("ghost")


def test_a_source_with_a_refused_revision_is_named(store: Store, agents: PretendAgents) -> None:
    source = ListedSource("fleet", revision("bad", {"main.yml": "services: 7"}))
    sync(store, source)
    answer = ask(store, "web")
    assert "! revision bad is not applied, but r1 ! main.yml:1:11: error" in text(answer)
    assert isinstance(answer, ServiceAnswer)
    assert [(row.source, row.ok, row.seen) for row in answer.sources] == [("fleet", False, "bad")]
