"""A host that exists only as values: what the agent's planner asks for happens here, when the test says so.

Each ``look`` is one pass of the agent: it sees what is there, plans, and its actions wait in ``work`` until ``finish``.
``by_id`` and ``by_host`` are the two places in the store where a task's record stands.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from reconciler.agent.actions import Action, Cancel, CancelFetch, Fetch, Start, TakeDown
from reconciler.agent.host_view import (
    Evidence,
    ExecutorView,
    Fetched,
    Fetching,
    Finding,
    HealthEntry,
    HealthView,
    HostView,
    IssuedView,
    Outcome,
    Progress,
    Report,
    Standings,
    Unusable,
)
from reconciler.agent.lifecycle import NEVER, Life, Now, TaskKey, Work
from reconciler.agent.outdated import SecretsView, fingerprint, wanted_by
from reconciler.agent.plan import Plan, plan
from reconciler.agent.settings import AgentSettings
from reconciler.executors.interface import Observed, Owner, Ref
from reconciler.health.interface import Reading, Registration
from reconciler.model import codec
from reconciler.model.manifests import BashContainer, BashExecutor, DockerContainer, DockerExecutor, TaskDefinition
from reconciler.model.preparation import Preparation
from reconciler.model.secrets import Place
from reconciler.model.task import Health, HostStatus, Phase, Task, TaskStatus

OURS = Owner("store-1", "h1@machine-1")
WALL = 1_700_000_000.0


def definition(*names: str, kind: str = "bash", artifact: str = "", **fields: Any) -> TaskDefinition:
    """A definition whose containers have these names."""
    containers = tuple(
        BashContainer(name=name, executor=BashExecutor(start=("true",), artifact=artifact))
        if kind == "bash"
        else DockerContainer(name=name, executor=DockerExecutor(image="i"))
        for name in names or ("main",)
    )
    return TaskDefinition(**{"name": "web", "version": 1, "containers": containers, **fields})


class PlannedHost:
    """The world of one agent."""

    def __init__(self, **settings: Any) -> None:
        self.settings = AgentSettings(host="h1", address="10.0.0.1", runtime_dir=Path("run"), **settings)
        self.time = 1000.0
        self.by_host: dict[str, Task] = {}
        self.by_id: dict[str, Task] = {}
        self.definitions: dict[str, TaskDefinition | Unusable] = {}
        self.containers: dict[tuple[str, Ref], Observed] = {}
        self.foreign: list[Observed] = []
        self.kinds = ["bash", "docker"]
        self.blind: dict[str, str] = {}
        self.unavailable: dict[str, str] = {}
        self.frozen = False  # when True, nobody has looked at the executors since
        self.last_looks: dict[str, ExecutorView] = {}
        self.denied = False  # when True, the single key can't be read
        self.problem: str | None = None
        self.last_issued: IssuedView | None = None
        self.went_back_at: float | None = None
        self.hold: str | None = None
        self.ending = False
        self.contact_at: float | None = None
        """When the host was last certainly known as present; None: it is now."""
        self.provider_answers = True
        self.registered: frozenset[str] | None = None
        self.registrations: Mapping[str, Registration] = {}
        self.readings: dict[str, Reading] = {}
        self.findings: dict[TaskKey, Finding] = {}
        self.published: HostStatus | None = None
        self.preparations: dict[str, Preparation] = {}
        self.fetching: Mapping[str, Fetching] = {}
        self.refusals: dict[str, str] = {}
        self.reports: list[Report] = []
        self.lives: Mapping[TaskKey, Life] = {}
        self.standing = Standings()
        self.held: frozenset[TaskKey] = frozenset()
        self.work: list[Action] = []
        self.events: list[str] = []
        self.values: dict[Place, str] = {}
        """The marks of the values of this host, by where they are."""
        self.looked_at_values: float = NEVER

    def issue(
        self,
        issue: int,
        made_of: TaskDefinition | None = None,
        *,
        instance: int = 1,
        port: int = 0,
        ports: dict[str, int] | None = None,
        stop_isolated_after_s: float | None = None,
        completes: bool = False,
    ) -> Task:
        """Issue a task to this host."""
        made_of = made_of or definition()
        task = Task(
            id=f"c-web-{made_of.version}-{instance}",
            cluster="c",
            service="web",
            task_name=made_of.name,
            task_version=made_of.version,
            instance=instance,
            host="h1",
            port=port,
            ports=ports or UNSET,
            issue=issue,
            digest=codec.digest(made_of),
            issued_at=0.0,
            completes=completes,
            stop_isolated_after_s=stop_isolated_after_s or UNSET,
        )
        self.definitions[task.digest] = made_of
        self.by_host[task.id] = self.by_id[task.id] = task
        return task

    def ask(self, made_of: TaskDefinition) -> str:
        """A scheduler wants what tasks of it need to be fetched."""
        digest = codec.digest(made_of)
        self.definitions[digest] = made_of
        self.preparations["c/web"] = Preparation(
            cluster="c", service="web", host="h1", task_name=made_of.name, task_version=made_of.version, digest=digest
        )
        return "c/web"

    def take_back(self, task: Task) -> None:
        """Delete both records."""
        self.by_host.pop(task.id)
        self.by_id.pop(task.id)

    def look(self) -> Plan:
        """One pass; its actions go to ``work``."""
        made = plan(self.view(), self.now)
        self._decided_as_if_nothing_stood(made)
        self.lives, self.held, self.fetching, self.reports = made.lives, made.held, made.fetching, []
        self.standing = made.standing
        started = {action.key for action in made.actions if isinstance(action, Start)}
        # to cancel a start says nothing of the next one
        self.work = [each for each in self.work if not (isinstance(each, Cancel) and each.key in started)]
        self.work.extend(made.actions)
        self.events.extend(f"{event.subject} {event.message}" for event in made.events)
        if made.status is not None:
            self.published = made.status
        if made.registrations is not None:
            self.registrations = made.registrations
            if self.provider_answers:
                self.registered = frozenset(made.registrations) | made.keep
        self.time += 0.001
        return made

    def _decided_as_if_nothing_stood(self, made: Plan) -> None:
        anew = plan(msgspec.structs.replace(self.view(), standing=Standings()), self.now)
        assert _without_standing(made) == _without_standing(anew), "what stands was decided otherwise"
        again_s = math.inf if made.look_again_s is None else made.look_again_s
        assert again_s <= (math.inf if anew.look_again_s is None else anew.look_again_s), "it would come too late"
        if made.look_again_s != 0.0:
            later = msgspec.structs.replace(self.view(), lives=made.lives, fetching=made.fetching, outcomes=())
            following = plan(later, self.now)
            assert (following.actions, following.lives) == ((), made.lives), "nobody asks for what is due at once"

    def settle(self, passes: int = 30) -> Plan:
        """Look and do the work until nothing happens any more."""
        for _ in range(passes):
            before = (self.lives, self.registered)
            made = self.look()
            if not self.work and (self.lives, self.registered) == before and not made.confirm:
                return made
            while self.work:
                self.finish(self.work[0])
        raise AssertionError(f"this never settles: {self.lives} {self.events}")

    def wait(self, seconds: float) -> Plan:
        """Let time pass, then settle."""
        self.time += seconds
        return self.settle()

    def finish(
        self,
        action: Action,
        error: str | None = None,
        *,
        permanent: bool = False,
        waits: bool = False,
        started: int = 99,
    ) -> None:
        """The work is done: all of it, or with ``error`` after ``started`` containers."""
        self.work.remove(action)
        if isinstance(action, Fetch):
            digest = action.specs[0].digest
            self.reports.append(Fetched(name=action.name, digest=digest, error=error, permanent=permanent))
            return
        if isinstance(action, CancelFetch):
            for fetch in [each for each in self.work if isinstance(each, Fetch) and each.name == action.name]:
                self.work.remove(fetch)
                digest = fetch.specs[0].digest
                self.reports.append(Fetched(name=action.name, digest=digest, cancelled=True))
            return
        work = Work.TAKE_DOWN if isinstance(action, TakeDown) else Work.START
        match action:
            case Cancel():
                for start in [each for each in self.work if isinstance(each, Start) and each.key == action.key]:
                    self.work.remove(start)
                    self.reports.append(Outcome(key=action.key, work=work, at=self.time, cancelled=True))
                return
            case Start():
                if action.fetches:
                    self.reports.append(Progress(action.key))
                for spec in action.specs[: 0 if error and started == 99 else started]:
                    kind = spec.container.type
                    self.containers[kind, spec.ref] = Observed(
                        ref=spec.ref,
                        owner=OURS,
                        digest=spec.digest,
                        attempt=spec.attempt,
                        running=True,
                        started_at=self.now.wall,
                        fingerprint=fingerprint("key", [self.values[e.place] for e in wanted_by(spec.container)]),
                    )
            case TakeDown() if error is None:
                for target in action.targets:
                    place = (target.kind, target.ref)
                    if action.remove:
                        self.containers.pop(place, None)
                    elif place in self.containers:
                        self.end(target.ref, 143)
        self.reports.append(
            Outcome(key=action.key, work=work, at=self.time, error=error, permanent=permanent, waits=waits)
        )
        self.time += 0.001

    def end(self, ref: Ref, exit_code: int | None = 1, reason: str = "") -> None:
        """A container ends."""
        for place, each in self.containers.items():
            if place[1] == ref:
                self.containers[place] = msgspec.structs.replace(
                    each, running=False, exit_code=exit_code, reason=reason
                )

    def look_at_values(self) -> Plan:
        """Read them anew, and plan."""
        self.looked_at_values = self.time
        return self.settle()

    def restart_agent(self) -> None:
        """The agent is killed, and another one begins with nothing but what it finds."""
        self.lives, self.held, self.reports, self.work, self.findings = {}, frozenset(), [], [], {}
        self.fetching, self.standing = {}, Standings()
        self.last_issued, self.registered = None, None
        self.last_looks = {}

    def phase(self, task: Task) -> Phase | None:
        """The phase of this very issue, or None when the agent knows nothing of it."""
        life = self.lives.get(TaskKey(task.id, task.issue))
        return life.phase if life else None

    def life(self, task: Task) -> Life:
        """What the agent remembers of it."""
        return self.lives[TaskKey(task.id, task.issue)]

    def status(self, task: Task) -> TaskStatus:
        """What was published of it."""
        assert self.published is not None
        return self.published.tasks[task.id]

    def running(self) -> list[Ref]:
        """Everything of ours that runs."""
        return sorted(ref for (_, ref), each in self.containers.items() if each.running)

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.time, WALL + self.time)

    def view(self) -> HostView:
        """What the agent sees now."""
        health = {
            task_id: HealthEntry(each.task.issue, each.attempt, self.readings.get(task_id, Reading(Health.PASSING)))
            for task_id, each in self.registrations.items()
        }
        return HostView(
            owner=OURS,
            settings=self.settings,
            issued=self._issued(),
            executors={kind: self._executor(kind) for kind in self.kinds},
            health=HealthView(entries=health, registered=self.registered),
            secrets=SecretsView(began=self.looked_at_values, key="key", readings=dict(self.values)),
            lives=self.lives,
            standing=self.standing,
            fetching=self.fetching,
            refusals=self.refusals,
            outcomes=tuple(self.reports),
            published=self.published,
            hold=self.hold,
            ending=self.ending,
            contact_at=self.time if self.contact_at is None else self.contact_at,
        )

    def _issued(self) -> IssuedView:
        if self.problem is not None:
            return msgspec.structs.replace(self.last_issued or IssuedView(), problem=self.problem)
        self.findings = {
            key: self._find(key)
            for key in self.held
            if key.id not in self.by_host or self.by_host[key.id].issue != key.issue
        }
        self.last_issued = IssuedView(
            began=self.time,
            tasks=dict(self.by_host),
            problem=None,
            went_back_at=self.went_back_at,
            definitions=dict(self.definitions),
            findings=dict(self.findings),
            preparations=dict(self.preparations),
        )
        return self.last_issued

    def _find(self, key: TaskKey) -> Finding:
        task = self.by_id.get(key.id)
        if self.denied:
            return Finding(Evidence.UNKNOWN, self.time, "permission denied")
        if task is None:
            return Finding(Evidence.NOT_ISSUED, self.time, "it is not issued any more")
        if (task.host, task.issue) != ("h1", key.issue):
            return Finding(Evidence.NOT_ISSUED, self.time, f"issue {task.issue} on {task.host} takes its place")
        return Finding(Evidence.ISSUED, self.time, "it is still issued", task)

    def _executor(self, kind: str) -> ExecutorView:
        mine = tuple(each for (name, _), each in self.containers.items() if name == kind)
        observed = (*mine, *(self.foreign if kind == self.kinds[0] else ()))
        if kind in self.blind:
            return ExecutorView(problem=self.blind[kind], unavailable=self.blind[kind])
        if not self.frozen or kind not in self.last_looks:
            unavailable = self.unavailable.get(kind)
            look = ExecutorView(began=self.time, observed=observed, problem=None, unavailable=unavailable)
            self.last_looks[kind] = look
        return self.last_looks[kind]


def _without_standing(made: Plan) -> Plan:
    return msgspec.structs.replace(made, standing=Standings(), look_again_s=None)
