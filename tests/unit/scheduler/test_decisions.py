"""What stands in a cluster's head: enough to understand, and never too much."""

import msgspec
from msgspec import UNSET

from reconciler.model.task import Decision, Task
from reconciler.scheduler import announcements, decisions
from reconciler.scheduler.steps import Issue, Note, Pending, Plan, Step, Withdraw


def task(number: int, host: str = "h1") -> Task:
    return Task(
        id=f"main-web-1-{number}",
        cluster="main",
        service="web",
        task_name="web",
        task_version=1,
        instance=number,
        host=host,
        issue=0,
        digest="d",
        issued_at=0.0,
    )


def step(*actions: Issue | Withdraw) -> Step:
    return Step(service="web", actions=actions)


def said(*steps: Step) -> list[tuple[str, str]]:
    return [(each.what, each.why) for each in decisions.decide(steps, 7, 1.0)]


def test_one_task_is_named_with_its_host() -> None:
    assert said(step(Issue(task(0), "2 desired"))) == [("start main-web-1-0 on h1", "2 desired")]
    assert said(step(Withdraw(task(0), "host h1 is draining"))) == [("stop main-web-1-0 on h1", "host h1 is draining")]


def test_a_replacement_is_one_decision() -> None:
    replaced = step(Withdraw(task(0), "host h1 is lost"), Issue(task(1, "h2"), "host h1 is lost"))
    assert said(replaced) == [("replace main-web-1-0 on h1 by main-web-1-1 on h2", "host h1 is lost")]


def test_many_alike_are_said_once() -> None:
    steps = [step(Issue(task(number), "first placement")) for number in range(20)]
    assert said(*steps) == [
        ("start 20 tasks of web version 1 (main-web-1-0 to main-web-1-19)", "first placement"),
    ]
    some = [step(Withdraw(task(number), "too many")) for number in (7, 0, 10, 3)]
    assert [what for what, _ in said(*some)] == [
        "stop 4 tasks of web version 1 (main-web-1-0, main-web-1-3 and 2 more)"
    ]
    assert [what for what, _ in said(*some[:2])] == ["stop 2 tasks of web version 1 (main-web-1-0, main-web-1-7)"]


def test_what_starts_is_told_host_by_host_where_that_is_shorter() -> None:
    steps = [Step(service=f"s{number}", actions=(Issue(task(number), "first placement"),)) for number in range(12)]
    assert said(*steps) == [("start 12 tasks on h1 (main-web-1-0, main-web-1-1 and 10 more)", "first placement")]
    assert len(said(*steps[:5])) == 5


def test_what_is_told_of_a_host_names_its_services() -> None:
    steps = [Step(service=f"s{number:02}", actions=(Issue(task(number), "first placement"),)) for number in range(12)]
    alone = Step(
        service="web", actions=(Issue(task(12, "h2"), "first placement"), Issue(task(13, "h2"), "first placement"))
    )
    together, of_one = decisions.decide([*steps, alone], 7, 1.0)
    assert (together.service, together.services) == ("", tuple(f"s{number:02}" for number in range(12)))
    assert (of_one.service, of_one.services) == ("web", UNSET)
    long = [msgspec.structs.replace(each, service=f"{each.service}-{'x' * 100}") for each in steps]
    (bounded,) = decisions.decide(long, 7, 1.0)
    assert bounded.services == (*(each.service for each in long[:9]), "…")


def test_the_oldest_decisions_make_room() -> None:
    old = tuple(Decision(seq=number, at=0.0, what="w" * 200, why="y" * 200, service="web") for number in range(100))
    new = (Decision(seq=100, at=0.0, what="the newest", why=""),)
    kept = decisions.append(old, new)
    assert kept[-1] == new[0]
    assert [each.seq for each in kept] == list(range(101 - len(kept), 101))
    assert len(msgspec.json.encode(kept)) <= decisions.MOST_BYTES


def test_a_reason_of_any_length_is_cut() -> None:
    ((what, why),) = said(step(Withdraw(task(0), "x" * 5000)))
    assert what == "stop main-web-1-0 on h1"
    assert len(why) == decisions.MOST_TEXT


def test_an_obstacle_is_announced_once_and_again_when_it_is_another_one() -> None:
    def plan(reason: str, note: str = "waits") -> Plan:
        pending = Pending(service="web", task_name="web", task_version=1, count=1, reason=reason)
        return Plan(cluster="main", pending=(pending,), notes=(Note(service="web", reason=note),))

    events, before = announcements.of_obstacles(plan("h1: 512 MiB of memory needed, 256 of 2048 MiB free"), {})
    assert [event.subject for event in events] == ["main/web", "main/web"]
    events, before = announcements.of_obstacles(plan("h1: 512 MiB of memory needed, 128 of 2048 MiB free"), before)
    assert events == []
    events, before = announcements.of_obstacles(plan("h1: draining"), before)
    assert [event.message for event in events] == ["1 of version 1 can't be placed: h1: draining"]
    events, before = announcements.of_obstacles(Plan(cluster="main"), before)
    assert (events, before) == ([], {})
    assert len(announcements.of_obstacles(plan("h1: draining"), before)[0]) == 2
