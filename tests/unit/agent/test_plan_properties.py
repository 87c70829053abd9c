"""Whatever happens to a host, in whatever order: what must never happen does not, and in the end what is issued runs.

Hypothesis makes up histories of a host: tasks issued, taken back and replaced, containers dying, work failing or being
slow, agents killed, the store or an engine away, a token losing its rights.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.agent.actions import Start, TakeDown
from reconciler.agent.host_view import HostView
from reconciler.agent.lifecycle import STEPS, Life, TaskKey
from reconciler.agent.plan import plan
from reconciler.agent.status import BYTES_OF_A_SMALL_HOST
from reconciler.executors.interface import Observed, Owner, Ref
from reconciler.model import codec
from reconciler.model.task import Phase, Task
from tests.support.planned_host import PlannedHost, definition

ONE = definition("main", name="one")
TWO = definition("db", "app", name="two", version=2)
MIXED = definition("main", kind="docker", name="mixed", version=3)

STEP = st.one_of(
    st.tuples(st.just("issue"), st.integers(1, 3), st.sampled_from([ONE, TWO, MIXED])),
    st.tuples(st.just("take back"), st.integers(0, 5)),
    st.tuples(st.just("lose from listing"), st.integers(0, 5)),
    st.tuples(st.just("die"), st.integers(0, 5), st.sampled_from([0, 1, 137, None])),
    st.tuples(st.just("vanish"), st.integers(0, 5)),
    st.tuples(st.just("finish"), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(0, 3), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("time"), st.sampled_from([0.01, 0.5, 3.0, 40.0, 700.0])),
    st.tuples(
        st.sampled_from(["kill agent", "store away", "deny", "blind", "engine away", "provider away", "freeze", "heal"])
    ),
    st.tuples(st.just("look")),
)


class History:
    """Plays steps on a host, and checks every plan that is made."""

    def __init__(self) -> None:
        self.host = PlannedHost(drain_delay_s=1.0, start_deadline_s=300.0)
        self.issue = 10
        self.orphan_owner = Owner("another", "h1@machine-1")
        stranger = Ref("c-web-1-1", 5, "main")
        self.host.foreign = [Observed(ref=stranger, owner=self.orphan_owner, digest="d", attempt=1, running=True)]

    def play(self, step: tuple) -> None:  # type: ignore[type-arg]
        host = self.host
        match step:
            case ("issue", instance, made_of):
                self.issue += 1
                host.issue(self.issue, made_of, instance=instance)
            case ("take back", which) if host.by_id:
                task = sorted(host.by_id.values(), key=lambda each: each.id)[which % len(host.by_id)]
                host.by_id.pop(task.id)
                host.by_host.pop(task.id, None)
            case ("lose from listing", which) if host.by_host:
                host.by_host.pop(sorted(host.by_host)[which % len(host.by_host)])
            case ("die", which, code) if host.running():
                host.end(host.running()[which % len(host.running())], code)
            case ("vanish", which) if host.containers:
                host.containers.pop(sorted(host.containers)[which % len(host.containers)])
            case ("finish", which) if host.work:
                host.finish(host.work[which % len(host.work)])
            case ("fail", which, started, permanent) if host.work:
                work = host.work[which % len(host.work)]
                if isinstance(work, Start | TakeDown):
                    host.finish(work, "it did not work", started=started, permanent=permanent)
            case ("time", seconds):
                host.time += seconds
            case ("kill agent",):
                host.restart_agent()
            case ("store away",):
                host.problem = "the store does not answer"
            case ("deny",):
                host.denied = True
            case ("blind",):
                host.blind["docker"] = "the engine does not answer"
            case ("engine away",):
                host.unavailable["docker"] = "the engine does not answer"
            case ("provider away",):
                host.provider_answers = False
            case ("freeze",):
                host.frozen = True
            case ("heal",):
                self.heal()
            case _:
                pass
        self.look()

    def heal(self) -> None:
        self.host.problem, self.host.denied, self.host.provider_answers = None, False, True
        self.host.frozen = False
        self.host.blind.clear()
        self.host.unavailable.clear()
        # what was lost from a listing comes back with it
        self.host.by_host = dict(self.host.by_id)

    def look(self) -> None:
        host = self.host
        view, before = host.view(), dict(host.lives)
        assert plan(view, host.now) == plan(view, host.now), "a plan depends on nothing but its arguments"
        made = host.look()
        for action in made.actions:
            self.check_action(action, view)
        keys = [action.key for action in made.actions]
        assert len(keys) == len(set(keys)), "one thing at a time is done to a task"
        for key, life in made.lives.items():
            if key in before:
                check_step(before[key], life)
        busy = {action.key for action in host.work}
        assert {key for key, life in made.lives.items() if life.busy} <= busy
        if made.status is not None:
            assert len(codec.encode(made.status)) <= BYTES_OF_A_SMALL_HOST
            for ref in host.running():
                assert ref.task_id in made.status.tasks or host.blind or host.frozen, "what holds a place is listed"

    def check_action(self, action: object, view: HostView) -> None:
        host = self.host
        if isinstance(action, Start):
            task = known_record(host, action.key)
            assert task is not None
            assert task.issue == action.key.issue, "only what was issued is started"
            others = [ref for ref in host.running() if ref.task_id == action.key.id and ref.issue != action.key.issue]
            assert not others, "rule 4 and 8: two issues of a task never run at once"
            taken = {ref for ref in host.running() if ref.task_id == action.key.id}
            assert not taken & {spec.ref for spec in action.specs}, "nothing is started twice"
        if isinstance(action, TakeDown) and action.remove:
            key = action.key
            record = host.by_id.get(key.id)
            assert record is None or record.issue != key.issue or host.lives[key].phase is Phase.STOPPING
        if isinstance(action, TakeDown):
            for target in action.targets:
                there = host.containers.get((target.kind, target.ref))  # gone: somebody removed it since the last look
                assert there is None or there.owner != self.orphan_owner


def known_record(host: PlannedHost, key: TaskKey) -> Task | None:
    life = host.lives.get(key)
    return host.by_id.get(key.id) if life is None or life.record is None else life.record


def check_step(before: Life, after: Life) -> None:
    """Forward within an attempt, and an attempt begins where another one ended."""
    if after.attempt == before.attempt and after.phase != before.phase:
        reachable, seen = {before.phase}, set()
        while reachable - seen:
            phase = (reachable - seen).pop()
            seen.add(phase)
            reachable |= STEPS[phase]
        assert after.phase in reachable, f"{before.phase} → {after.phase}"
    assert after.attempt >= before.attempt


@given(st.lists(STEP, max_size=40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_in_the_end_exactly_what_is_issued_runs(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    history = History()
    for step in steps:
        history.play(step)
    history.heal()
    host = history.host
    for _ in range(12):
        host.wait(400)
    wanted = {(task.id, task.issue) for task in host.by_id.values()}
    given_up = {(key.id, key.issue) for key, life in host.lives.items() if life.phase in (Phase.FAILED, Phase.REJECTED)}
    running = {(ref.task_id, ref.issue) for ref in host.running()}
    assert running == wanted - given_up
    for task in host.by_id.values():
        names = {container.name for container in definitions_by_digest()[task.digest].containers}
        here = {ref.container for ref in host.running() if ref.task_id == task.id}
        assert here == (set() if (task.id, task.issue) in given_up else names)
    assert not host.wait(400).actions, "and then there is nothing left to do"


@given(st.lists(STEP, max_size=40), st.sampled_from(["denied", "store away", "listing"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rule_05_nothing_that_runs_is_stopped_while_nobody_can_say_what_is_issued(
    steps: list[tuple],  # type: ignore[type-arg]
    how: str,
) -> None:
    history = History()
    for step in steps:
        history.play(step)
    history.heal()
    host = history.host
    for _ in range(12):
        host.wait(400)
    running = host.running()
    host.by_host.clear()
    match how:
        case "denied":
            host.by_id.clear()
            host.denied = True
        case "store away":
            host.by_id.clear()
            host.problem = "the store does not answer"
        case _:
            pass
    for _ in range(3):
        host.wait(400)
    assert host.running() == running


def definitions_by_digest() -> dict[str, object]:  # type: ignore[type-arg]
    return {codec.digest(each): each for each in (ONE, TWO, MIXED)}  # type: ignore[return-value]
