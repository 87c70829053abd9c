"""What the audits of ``conformance`` conclude from two pictures, also where they must not conclude anything."""

from collections.abc import Sequence

import msgspec
import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host
from reconciler.model.task import ClusterHead, Health, HostStatus, Phase, PlacementSeq, Task, TaskStatus
from reconciler.operations.conformance.audit_records import RecordAudit
from reconciler.operations.conformance.audit_steps import Moment, StepAudit
from reconciler.operations.conformance.declared import Declared, definition, service
from reconciler.operations.conformance.hosts import Behaviour, Life, live, status_of
from reconciler.operations.conformance.picture import picture_of
from reconciler.operations.conformance.rules import MOST_EVIDENCE, Ledger, Verdict
from reconciler.operations.conformance.stage import host_states
from reconciler.store.interface import Entry, Listing

WEB = definition("web", memory=600, port=20500)
DECLARED = Declared(cluster=Cluster(name="c")).with_service(service("web", 3, least=2, most=4), WEB)
STATES = host_states("c")
ONE, TWO, THREE, NO_BASH = (state.host for state in STATES)


def task(instance: int, host: str = ONE, *, issue: int = 1, version: int = 1) -> Task:
    return Task(
        id=f"c-web-{version}-{instance}",
        cluster="c",
        service="web",
        task_name="web",
        task_version=version,
        instance=instance,
        host=host,
        port=20500,
        memory=600,
        issue=issue,
        digest=codec.digest(WEB),
        issued_at=1.0,
    )


def running(each: Task, health: Health = Health.PASSING) -> TaskStatus:
    return TaskStatus(phase=Phase.RUNNING, issue=each.issue, health=health, port=each.port, memory=each.memory)


def moment(
    index: int,
    *tasks: Task,
    healthy: Sequence[Task] = (),
    statuses_at: int = 1,
    declared: Declared = DECLARED,
    present: Sequence[str] = (ONE, TWO, THREE, NO_BASH),
) -> Moment:
    """A picture after one transaction at ``index`` that wrote all of ``tasks``."""
    seq = max([each.issue for each in tasks], default=index)
    head = ClusterHead(cluster="c", scheduler="default", seq=seq)
    entries = [
        Entry(keys.cluster_head("c"), codec.encode(head), index),
        Entry(keys.PLACEMENT, codec.encode(PlacementSeq(seq=seq)), index),
    ]
    for each in tasks:
        pair = (keys.task_by_id(each.id), keys.task_by_host(each.host, each.id))
        entries += [Entry(key, codec.encode(each), index) for key in pair]
    for state in STATES:
        holder = "session" if state.host in present else None
        entries.append(Entry(keys.host_state(state.host), codec.encode(state), 1, holder))
        said = {each.id: running(each) for each in healthy if each.host == state.host}
        status = HostStatus(host=state.host, tasks=said)
        entries.append(Entry(keys.status(state.host), codec.encode(status), statuses_at))
    listing = Listing(tuple(sorted(entries, key=lambda entry: entry.key)), index)
    return Moment(picture=picture_of(listing, "c"), declared=declared)


def broken(ledger: Ledger) -> set[str]:
    return {each.rule for each in ledger.findings() if each.verdict is Verdict.BROKEN}


def steps(before: Moment, after: Moment) -> set[str]:
    ledger = Ledger()
    audit = StepAudit(ledger, STATES)
    audit.note(before.picture)
    audit.look(before, after)
    return broken(ledger)


def records(*moments: Moment) -> set[str]:
    ledger = Ledger()
    audit = RecordAudit(ledger, "c", {state.host: state.port_range for state in STATES})
    for each in moments:
        audit.look(each.picture, each.declared)
    return broken(ledger)


def test_a_healthy_task_that_min_needs_is_missed() -> None:
    three = [task(0), task(1, TWO), task(2, THREE)]
    before = moment(5, *three, healthy=three)
    assert steps(before, moment(6, *three[:2], healthy=three)) == set()
    assert steps(before, moment(6, *three[:1], healthy=three)) == {"min"}


def test_whoever_acted_before_a_task_became_healthy_could_not_count_it() -> None:
    old, new = [task(0), task(1, TWO)], task(2, THREE)
    before = moment(5, *old, new, healthy=old)
    acted_after_the_status = moment(7, task(1, TWO), new, healthy=[*old, new], statuses_at=6)
    acted_before_the_status = moment(6, task(1, TWO), new, healthy=[*old, new], statuses_at=7)
    assert steps(before, acted_after_the_status) == set()
    assert steps(before, acted_before_the_status) == {"min"}


def test_a_task_of_a_missing_host_may_go_whatever_is_left() -> None:
    three = [task(0), task(1, TWO), task(2, THREE)]
    before = moment(5, *three, healthy=three, present=(ONE, TWO))
    assert steps(before, moment(6, *three[:2], healthy=three, present=(ONE, TWO))) == set()


def test_a_service_that_goes_altogether_needs_no_min() -> None:
    three = [task(0), task(1, TWO), task(2, THREE)]
    gone = DECLARED.without_service("web")
    assert steps(moment(5, *three, healthy=three), moment(6, healthy=three, declared=gone)) == set()


def test_more_than_max_is_missed_but_what_was_there_before_is_not_held_against_it() -> None:
    five = [task(number, host) for number, host in enumerate((ONE, TWO, THREE, ONE, TWO))]
    assert "max" in steps(moment(5), moment(6, *five))
    assert "max" not in steps(moment(5, *five), moment(6, *five))


def test_memory_and_ports_of_what_still_stops_are_taken() -> None:
    leaving, new = task(0), task(1)
    before = moment(5, healthy=[leaving])
    assert steps(before, moment(6, new, healthy=[leaving])) == {"memory", "ports"}
    # the host said that it is gone, and then the place was given away
    assert steps(before, moment(6, new, statuses_at=5)) == set()


def test_an_id_that_a_host_still_lists_is_taken() -> None:
    left, again = task(0, TWO), task(0, THREE, issue=6)
    assert steps(moment(5, healthy=[left]), moment(6, again, healthy=[left])) == {"instances"}


def test_what_a_host_lists_only_after_the_last_write_could_not_be_known() -> None:
    late, again = task(0, TWO), task(0, THREE, issue=6)
    assert steps(moment(5, healthy=[late], statuses_at=6), moment(8, again, healthy=[late], statuses_at=6)) == set()


def test_a_host_without_the_executor_and_one_that_drains_get_nothing() -> None:
    draining = msgspec.structs.replace(DECLARED.with_host(Host(name=ONE, draining=True)), index=3)
    assert steps(moment(5), moment(6, task(0, NO_BASH))) == {"executors"}
    assert steps(moment(5, declared=draining), moment(6, task(0), declared=draining)) == {"draining"}
    said_later = msgspec.structs.replace(draining, index=7)
    assert steps(moment(5), moment(6, task(0), declared=said_later)) == set()


def test_records_as_they_should_be_break_nothing() -> None:
    assert records(moment(5, task(0, issue=5)), moment(6, task(0, issue=6))) == set()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"digest": "0" * 32}, "record"),
        ({"instance": 7}, "record"),
        ({"port": 1}, "record"),
        ({"memory": 1}, "record"),
        ({"host": "elsewhere"}, "record"),
        ({"cluster": "other"}, "record"),
        ({"task_name": "unheard-of"}, "record"),
    ],
)
def test_a_wrong_field_of_a_record_is_seen(change: dict[str, object], rule: str) -> None:
    assert records(moment(5, msgspec.structs.replace(task(0, issue=5), **change))) == {rule}


def test_an_issue_that_was_used_before_is_seen() -> None:
    assert records(moment(5, task(0, issue=5)), moment(6), moment(7, task(0, issue=5))) == {"sequence"}


def test_half_a_task_is_seen() -> None:
    whole = moment(5, task(0, issue=5))
    by_host = msgspec.structs.replace(whole, picture=msgspec.structs.replace(whole.picture, by_host={}))
    by_id = msgspec.structs.replace(whole, picture=msgspec.structs.replace(whole.picture, by_id={}, tasks={}))
    assert records(by_host) == records(by_id) == {"both-records"}


def test_pretended_tasks_start_and_stop_in_their_time() -> None:
    behaviour, each = Behaviour(start_s=1.0, stop_s=2.0), task(0)
    lives = live({}, [each], behaviour, 0.0)
    assert status_of(ONE, lives, behaviour, 0.5).tasks[each.id].phase is Phase.STARTING
    assert status_of(ONE, lives, behaviour, 1.0).tasks[each.id].healthy
    behaviour.sick = frozenset({("web", 1)})
    assert status_of(ONE, lives, behaviour, 1.0).tasks[each.id].health is Health.CRITICAL
    lives = live(lives, [], behaviour, 3.0)
    assert status_of(ONE, lives, behaviour, 3.0).tasks[each.id].phase is Phase.STOPPING
    assert live(lives, [], behaviour, 4.0)
    assert not live(lives, [], behaviour, 5.0)


def test_a_pretended_host_never_runs_two_issues_of_one_id() -> None:
    behaviour, old, new = Behaviour(stop_s=2.0), task(0, issue=1), task(0, issue=2)
    lives = live({(old.id, 1): Life(old, 0.0)}, [new], behaviour, 3.0)
    assert [life.task.issue for life in lives.values()] == [1]
    lives = live(lives, [new], behaviour, 5.0)
    assert [life.task.issue for life in live(lives, [new], behaviour, 5.1).values()] == [2]


def test_what_broke_a_rule_once_has_broken_it_and_much_of_it_is_counted() -> None:
    ledger = Ledger()
    for number in range(MOST_EVIDENCE + 2):
        ledger.broken("max", f"number {number}")
    ledger.kept("max", "well")
    found = next(each for each in ledger.findings() if each.rule == "max")
    assert found.verdict is Verdict.BROKEN
    assert found.checks == MOST_EVIDENCE + 3
    assert found.evidence[-1] == "and 2 more like these"
