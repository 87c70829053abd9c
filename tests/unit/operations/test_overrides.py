"""What operators change by hand: what is refused, what is written, and what the scheduler and people make of it."""

import pytest

from reconciler.cli.output import when
from reconciler.cli.plan_text import overridden
from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode, digest
from reconciler.model.manifests import Cluster, Host, RolloutPolicy, Service, TaskDefinition
from reconciler.model.overrides import ServiceOverride
from reconciler.model.task import HostStatus, Phase, Rollout, RolloutPhase, TaskStatus
from reconciler.operations import overrides, replacements, verdicts
from reconciler.operations.overrides import Said
from reconciler.queries import provenance
from reconciler.queries.explain_host import explain_host
from reconciler.queries.fleet import read
from reconciler.queries.overrides import overrides as in_force
from reconciler.queries.status import status
from reconciler.queries.waits import emptied
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.balance import Move
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.scheduler.steps import Issue, Plan, SaveRollout, Withdraw
from reconciler.store.interface import Acquire, Committed, DeleteIf, Put
from reconciler.store.memory import MemoryStore
from tests.support.scheduler_store import PretendAgents, declare, declare_web, listed, make_ours, put, tasks
from tests.support.scheduler_world import definition

NOW = SystemClock().wall()


def said(now: float = NOW, until: float = 0.0) -> Said:
    return Said(by="anna", reason="load test", now=now, until=until)


class Small:
    """A store with agents that pretend, and a scheduler that acts when told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        make_ours(self.store)
        self.agents = PretendAgents(self.store, "h1", "h2", ttl_s=3600)
        self.session = self.store.open_session("scheduler", 3600)
        lock = Acquire(keys.scheduler_lock("main"), b"me", self.session.id)
        assert isinstance(self.store.commit([lock]), Committed)

    def plan(self) -> Plan:
        return plan(view_of(Observer(self.store).read().scene, "main", "default"), NOW)

    def go(self) -> None:
        """Until nothing is left to do."""
        for _ in range(30):
            reading = Observer(self.store).read()
            view = view_of(reading.scene, "main", "default")
            made = plan(view, NOW)
            Applier(self.store, reading, view, session_id=self.session.id, now=NOW).apply(made, lambda: False)
            self.agents.tick()
            if not made.steps:
                return
        raise AssertionError("it does not end")


@pytest.fixture
def small() -> Small:
    made = Small()
    declare_web(made.store, desired=2, max=4)
    made.go()
    return made


def test_scaling_by_hand_holds_until_the_manifest_says_something_else(small: Small) -> None:
    done = overrides.scale(small.store, "web", 4, said())
    assert (done.field, done.before, done.after, done.differs) == ("desired", 2, 4, True)
    small.go()
    assert len(tasks(small.store)) == 4
    shown = status(read(small.store, NOW))
    assert [each.text for each in shown.overrides] == ["service web: desired 4 instead of 2"]
    assert shown.services[0].desired == 4
    assert shown.services[0].ok
    # what git says of other fields does not end it; what it says of this one does
    declare_web(small.store, version=2, desired=2, max=4)
    small.go()
    assert len(tasks(small.store)) == 4
    declare_web(small.store, version=2, desired=3, max=4)
    small.go()
    assert len(tasks(small.store)) == 3
    assert not in_force(read(small.store, NOW).snapshot)


def test_an_override_ends_at_its_time(small: Small) -> None:
    overrides.scale(small.store, "web", 4, said(now=NOW - 100, until=NOW - 1))
    assert not small.plan().steps
    overrides.scale(small.store, "web", 4, said(until=NOW + 3600))
    made = small.plan()
    assert len(made.actions) == 2
    assert made.look_again_s is not None, "nobody would look when it ends"
    assert made.look_again_s <= 3600


@pytest.mark.parametrize(("number", "hint"), [(5, "Raise max to 5"), (1, "Lower min to 1"), (0, "reconciler stop web")])
def test_a_number_outside_of_min_and_max_is_refused_with_what_to_do(small: Small, number: int, hint: str) -> None:
    declare_web(small.store, desired=2, min=2, max=4)
    with pytest.raises(RevisionRefused) as refused:
        overrides.scale(small.store, "web", number, said())
    assert hint in str(refused.value)
    assert not listed(small.store, keys.SERVICE_OVERRIDES, ServiceOverride)


def test_a_stopped_service_is_not_called_well_and_starts_again(small: Small) -> None:
    overrides.stop(small.store, "web", said())
    small.go()
    assert not tasks(small.store)
    row = status(read(small.store, NOW)).services[0]
    assert not row.ok
    assert row.reasons == ("stopped by anna (load test): `reconciler start web`",)
    overrides.start(small.store, "web", NOW)
    small.go()
    assert len(tasks(small.store)) == 2
    with pytest.raises(RevisionRefused, match="neither stopped nor scaled"):
        overrides.start(small.store, "web", NOW)


def test_a_restart_replaces_each_task_once_and_never_goes_below_min(small: Small) -> None:
    before = {(task.id, task.issue) for task in tasks(small.store)}
    replacements.restart(small.store, "web", said())
    assert not status(read(small.store, NOW)).services[0].ok, "it would be called done before it began"
    small.go()
    after = {(task.id, task.issue) for task in tasks(small.store)}
    assert len(after) == 2
    assert not before & after
    assert status(read(small.store, NOW)).services[0].ok
    assert not small.plan().steps


def test_a_restart_that_is_taken_back_leaves_what_has_not_been_replaced(small: Small) -> None:
    with pytest.raises(RevisionRefused, match="not being restarted"):
        replacements.keep(small.store, "web", NOW)
    done = replacements.restart(small.store, "web", said())
    assert "restart web --clear" in done.lasts
    assert small.plan().actions
    replacements.keep(small.store, "web", NOW)
    assert not small.plan().actions
    assert status(read(small.store, NOW)).services[0].ok
    declare(small.store, Service(name="web", kind="batch", task_name="web", task_version=1, desired=2))
    with pytest.raises(RevisionRefused, match="begun anew"):
        replacements.keep(small.store, "web", NOW)


def test_what_can_come_to_nothing_for_now_is_said(small: Small) -> None:
    overrides.stop(small.store, "web", said())
    assert "web is stopped by anna (load test)" in replacements.restart(small.store, "web", said()).warnings[0]
    assert "unpause main" in overrides.pause(small.store, "main", said()).lasts
    for done in (overrides.start(small.store, "web", NOW), overrides.drain(small.store, "h1", said())):
        assert done.warnings == (
            "cluster main is paused by anna (load test), so nothing comes of it until `reconciler unpause main`",
        )


def test_a_pause_refuses_the_transaction_that_is_about_to_be_sent(small: Small) -> None:
    declare_web(small.store, version=2, desired=2, max=4)
    reading = Observer(small.store).read()
    view = view_of(reading.scene, "main", "default")
    made = plan(view, NOW)
    assert made.steps
    overrides.pause(small.store, keys.EVERY, said())
    applier = Applier(small.store, reading, view, session_id=small.session.id, now=NOW)
    assert applier.apply(made, lambda: False) is not None
    assert {task.task_version for task in tasks(small.store)} == {1}
    assert not small.plan().steps
    shown = status(read(small.store, NOW))
    assert any("paused by anna" in warning for warning in shown.warnings)
    assert not shown.ok


def test_a_paused_cluster_still_replaces_its_dead(small: Small) -> None:
    overrides.pause(small.store, "main", said())
    lost = tasks(small.store)[0]
    small.agents.sick[lost.id] = TaskStatus(phase=Phase.FAILED, issue=lost.issue, reason="exit code 1")
    small.agents.tick()
    kinds = [type(action) for action in small.plan().actions]
    assert kinds == [Withdraw, Issue]
    with pytest.raises(RevisionRefused, match="no pause of every cluster") as refused:
        overrides.unpause(small.store, keys.EVERY, NOW)
    assert "unpause main" in str(refused.value)
    overrides.pause(small.store, keys.EVERY, said())
    overrides.unpause(small.store, "main", NOW)
    with pytest.raises(RevisionRefused) as refused:
        overrides.unpause(small.store, "main", NOW)
    assert "unpause --all" in str(refused.value)


def test_a_record_of_a_cluster_that_cannot_be_read_keeps_nobody_from_commanding_others(small: Small) -> None:
    small.store.commit([Put(keys.cluster_override("other"), b"?")])
    overrides.pause(small.store, "main", said())
    assert "main" in overrides.scale(small.store, "web", 2, said()).warnings[0]
    assert "main" in overrides.drain(small.store, "h1", said()).warnings[0]


def test_a_drained_host_is_emptied_and_used_again(small: Small) -> None:
    done = overrides.drain(small.store, "h1", said())
    assert done.differs
    assert not emptied(read(small.store, NOW), "h1").done
    small.go()
    assert {task.host for task in tasks(small.store)} == {"h2"}
    assert emptied(read(small.store, NOW), "h1").done
    overrides.undrain(small.store, "h1", said())
    assert not in_force(read(small.store, NOW).snapshot)
    with pytest.raises(RevisionRefused, match="does not drain"):
        overrides.undrain(small.store, "h1", said())
    # and the other way round: git drains it, an operator needs it
    declare(small.store, Host(name="h2", draining=True))
    overrides.undrain(small.store, "h2", said())
    assert not small.plan().steps


def test_scaled_to_max_it_is_said_that_nothing_can_move(small: Small) -> None:
    assert not overrides.scale(small.store, "web", 3, said()).warnings
    (warning,) = overrides.scale(small.store, "web", 4, said()).warnings
    assert "min, desired and max are all 4 now" in warning
    declare_web(small.store, version=2, desired=2, max=4)
    small.go()
    (web,) = status(read(small.store, NOW)).services
    assert "min = desired = max = 4, so no task may start or stop first: raise max or lower min" in web.reasons


def test_a_drain_that_is_said_again_tells_that_its_deadline_is_gone(small: Small) -> None:
    overrides.drain(small.store, "h1", said(), deadline=NOW + 60)
    assert overrides.drain(small.store, "h1", said(), deadline=NOW + 90).warnings == ()
    assert "deadline" in overrides.drain(small.store, "h1", said()).warnings[0]
    assert overrides.drain(small.store, "h1", said()).warnings == ()


def test_past_its_deadline_a_drain_waits_no_longer(small: Small) -> None:
    overrides.pause(small.store, "main", said())  # so that nothing has begun to move
    overrides.drain(small.store, "h1", said(now=NOW - 10), deadline=NOW - 1)
    overrides.unpause(small.store, "main", NOW)
    (step,) = [step for step in small.plan().steps if any(isinstance(each, Withdraw) for each in step.actions)]
    assert [type(action) for action in step.actions] == [Withdraw, Issue]
    (row,) = in_force(read(small.store, NOW).snapshot)
    assert f"with a deadline of {when(NOW - 1)}" in overridden(row)
    fleet = read(small.store, NOW)
    (reason,) = explain_host(fleet, provenance.read(small.store), "h1").waits_for
    assert reason == "draining: its deadline is over, so 1 task goes as soon as there is a place elsewhere"


def test_canaries_are_promoted_or_aborted_only_where_there_are_some(small: Small) -> None:
    with pytest.raises(RevisionRefused, match="it is completed"):
        verdicts.decide(small.store, "web", promote=True, said=said())
    declare(small.store, definition("web", 2))
    declare(
        small.store,
        Service(name="web", task_name="web", task_version=2, desired=2, rollout=RolloutPolicy(canary=1)),
    )
    small.go()
    assert sorted(task.task_version for task in tasks(small.store)) == [1, 2]
    verdicts.decide(small.store, "web", promote=True, said=said())
    small.go()
    assert {task.task_version for task in tasks(small.store)} == {2}


def test_a_first_version_has_nothing_to_go_back_to_so_abort_says_no(small: Small) -> None:
    declare_web(small.store, version=1, desired=4, max=8)
    declare(small.store, definition("report", 1))
    declare(small.store, Service(name="report", kind="batch", task_name="report", task_version=1, desired=2))
    declare(small.store, Cluster(name="main", services=("web", "report")))
    put(small.store, keys.rollout("main", "web"), first_rollout(small, "web"))
    put(small.store, keys.rollout("main", "report"), first_rollout(small, "report"))
    with pytest.raises(RevisionRefused, match="version 1 is the first of service web") as refused:
        verdicts.decide(small.store, "web", promote=False, said=said())
    assert "reconciler stop web" in str(refused.value)
    assert "no more of it starts" in verdicts.decide(small.store, "report", promote=False, said=said()).what


def first_rollout(small: Small, name: str) -> Rollout:
    """As a scheduler stores it when it begins with the first version."""
    entry = small.store.get(keys.task_definition(name, 1))
    assert entry is not None
    return Rollout(
        cluster="main",
        service=name,
        target_task=name,
        target_version=1,
        target_digest=digest(decode(entry.value, TaskDefinition, entry.key)),
        phase=RolloutPhase.ROLLING,
        reason="first version",
        since=NOW,
    )


def test_abort_says_where_it_goes_back_to_and_that_it_cannot_where_that_is_gone(small: Small) -> None:
    declare_web(small.store, version=2, desired=2, max=4)
    made = small.plan()
    save = next(action.rollout for action in made.actions if isinstance(action, SaveRollout))
    put(small.store, keys.rollout("main", "web"), save)
    done = verdicts.decide(small.store, "web", promote=False, said=said())
    assert done.what == "version 2 is taken back: version 1 takes its place again"
    entry = small.store.get(keys.task_definition("web", 1))
    assert entry is not None
    small.store.commit([DeleteIf(entry.key, entry.index)])
    assert "what is healthy stays" in verdicts.decide(small.store, "web", promote=False, said=said()).what


def test_abort_goes_back_to_another_definition_of_the_same_number(small: Small) -> None:
    declare(small.store, definition("next", 1))
    declare(small.store, Service(name="web", task_name="next", task_version=1, desired=2))
    save = next(action.rollout for action in small.plan().actions if isinstance(action, SaveRollout))
    put(small.store, keys.rollout("main", "web"), save)
    done = verdicts.decide(small.store, "web", promote=False, said=said())
    assert done.what == "version 1 is taken back: web version 1 takes its place again"


def test_what_has_no_meaning_is_not_taken_as_if_it_had(small: Small) -> None:
    overrides.drain(small.store, "h1", said())
    with pytest.raises(UsageError, match="nothing is kept that could end by itself"):
        overrides.undrain(small.store, "h1", said(until=NOW + 60))
    assert in_force(read(small.store, NOW).snapshot)
    assert "--reason" in overrides.undrain(small.store, "h1", said()).warnings[0]
    overrides.scale(small.store, "web", 4, said())
    (warning,) = overrides.scale(small.store, "web", 2, said(until=NOW + 60)).warnings
    assert warning == "its manifest counts now, so nothing is kept, not --until nor --reason"


def test_names_that_are_not_there_are_said_with_those_that_are(small: Small) -> None:
    for call in (
        lambda: overrides.scale(small.store, "wbe", 2, said()),
        lambda: overrides.pause(small.store, "mian", said()),
        lambda: overrides.drain(small.store, "h9", said()),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert any(name in str(refused.value) for name in ("web", "main", "h1"))


def test_who_says_it_to_a_cluster_of_another_scheduler_is_told(small: Small) -> None:
    declare(small.store, Cluster(name="main", scheduler="night-shift", services=("web",)))
    assert "night-shift" in replacements.restart(small.store, "web", said()).warnings[0]


def test_an_override_that_cannot_be_read_holds_everything(small: Small) -> None:
    put(small.store, keys.service_override("web"), HostStatus(host="not an override"))
    held = small.plan().hold
    assert held is not None
    assert keys.service_override("web") in held


def test_a_task_that_was_to_move_stays_when_that_is_taken_back() -> None:
    small = Small()
    declare_web(small.store, desired=2)
    small.go()
    task = tasks(small.store)[0]
    replacements.rebalance(
        small.store,
        [Move(task=task.id, issue=task.issue, service="web", host=task.host, to="h2", reason="it is emptier")],
        said(),
    )
    assert small.plan().actions
    assert replacements.stay(small.store, ["db"]) == ()
    assert small.plan().actions
    assert replacements.stay(small.store, []) == ("web",)
    assert small.plan().actions == ()
    assert replacements.stay(small.store, []) == ()
