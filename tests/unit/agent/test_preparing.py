"""What a host fetches ahead of time: no place, no start, and the same checks as before a start."""

from reconciler.agent.actions import CancelFetch, Fetch, Start
from reconciler.agent.settings import RestartPolicy
from reconciler.model import codec
from reconciler.model.preparation import Prepared
from reconciler.model.task import Phase
from tests.support.planned_host import PlannedHost, definition

NO_IMAGE = "image web:2 can't be pulled: there is no such image"


def published(host: PlannedHost) -> Prepared:
    assert host.published is not None
    return host.published.prepared["c/web"]


def test_what_is_asked_for_is_fetched_and_said_and_nothing_starts() -> None:
    host, wanted = PlannedHost(), definition("main", "side", kind="docker", version=2)
    host.ask(wanted)
    (fetch,) = host.look().actions
    assert isinstance(fetch, Fetch)
    assert [spec.container.name for spec in fetch.specs] == ["main", "side"]
    assert not published(host).ready
    assert not host.look().actions, "it is being fetched"
    host.finish(fetch)
    host.settle()
    assert published(host) == Prepared(digest=codec.digest(wanted), ready=True)
    assert not host.running()
    assert "c/web prepared: all that its next task needs is here" in host.events
    before = host.published
    host.wait(600)
    assert host.published == before
    assert not host.work


def test_a_fetch_that_fails_is_tried_again_later_and_told_once() -> None:
    host = PlannedHost()
    host.ask(definition(version=2))
    waits = []
    for _ in range(4):
        made = host.look()
        host.finish(host.work[0], "the registry can't be reached")
        made = host.look()
        assert not made.actions
        assert made.look_again_s is not None
        waits.append(made.look_again_s)
        host.time += made.look_again_s
    assert waits == sorted(waits)
    assert waits[0] < 1 < waits[-1]
    assert published(host).reason == "the registry can't be reached"
    assert len([each for each in host.events if "registry" in each]) == 1
    host.settle()
    assert published(host).ready
    assert not published(host).reason


def test_what_can_never_be_had_is_tried_seldom() -> None:
    host = PlannedHost()
    host.ask(definition(version=2))
    host.look()
    host.finish(host.work[0], NO_IMAGE, permanent=True)
    host.look()
    assert published(host).reason == NO_IMAGE
    host.time += host.settings.restart.most_delay_s / 2
    assert not host.look().actions
    host.time += host.settings.restart.most_delay_s
    assert len(host.look().actions) == 1, "somebody may have pushed the image"


def test_it_keeps_to_what_a_start_keeps_to() -> None:
    host, wanted = PlannedHost(), definition(kind="docker", version=2)
    host.ask(wanted)
    host.refusals = {codec.digest(wanted): "images: web:2 is not allowed here"}
    assert not host.look().actions
    assert published(host).reason == "images: web:2 is not allowed here"
    host.refusals = {}
    host.unavailable = {"docker": "no engine"}
    assert not host.look().actions
    assert published(host).reason == "docker: no engine"
    host.unavailable, host.hold = {}, "the name is another machine's"
    assert not host.look().actions
    host.hold = None
    assert len(host.look().actions) == 1


def test_another_definition_takes_the_place_of_the_first() -> None:
    host = PlannedHost()
    host.ask(definition(version=2))
    host.look()
    (first,) = host.work
    third = definition(version=3)
    host.ask(third)
    host.look()
    host.finish(first)
    host.look()
    assert published(host) == Prepared(digest=codec.digest(third)), "what was fetched is the one before"
    host.settle()
    assert published(host).ready


def test_what_is_asked_for_no_more_is_forgotten() -> None:
    host = PlannedHost()
    name = host.ask(definition(version=2))
    host.settle()
    del host.preparations[name]
    host.settle()
    assert host.published is not None
    assert not host.published.prepared


def test_what_is_asked_for_no_more_while_it_is_fetched_is_broken_off_first() -> None:
    host = PlannedHost()
    name = host.ask(definition(version=2))
    host.look()
    del host.preparations[name]
    assert host.look().actions == (CancelFetch(name),)
    assert not host.look().actions, "it is being broken off"
    third = definition(version=3)
    host.ask(third)
    assert not host.look().actions, "two at once would fetch into one place"
    host.finish(host.work[1])
    (fetch,) = host.look().actions
    assert isinstance(fetch, Fetch)
    assert fetch.specs[0].digest == codec.digest(third)
    host.settle()
    assert published(host) == Prepared(digest=codec.digest(third), ready=True)


def test_nothing_is_fetched_for_a_service_whose_tasks_are_stopped_for_want_of_contact() -> None:
    host = PlannedHost()
    host.issue(1, stop_isolated_after_s=20.0)
    host.settle()
    name = host.ask(definition(version=2))
    host.look()
    host.contact_at = host.time
    host.time += 21
    assert CancelFetch(name) in host.look().actions
    host.settle()
    assert not [each for each in host.look().actions if isinstance(each, Fetch)]
    host.contact_at = None
    host.settle()
    assert published(host).ready


def test_what_isolation_held_back_is_fetched_as_soon_as_there_is_contact_again() -> None:
    host = PlannedHost(restart=RestartPolicy(max_attempts=1))
    task = host.issue(1, stop_isolated_after_s=20.0)
    host.settle()
    host.end(host.running()[0])
    host.settle()
    assert host.phase(task) is Phase.FAILED
    host.contact_at = host.time
    host.time += 21
    host.ask(definition(version=2))
    made = host.look()
    assert not made.actions
    assert made.look_again_s == 1.0, "a task that has failed looks for nothing any more"
    host.contact_at = None
    assert [type(action) for action in host.look().actions] == [Fetch]


def test_who_stops_everything_fetches_nothing_more() -> None:
    host = PlannedHost()
    name = host.ask(definition(version=2))
    host.look()
    host.ending = True
    assert host.look().actions == (CancelFetch(name),)
    assert host.settle().ended
    assert not host.work


def test_an_agent_that_is_restarted_fetches_again_beside_what_it_starts() -> None:
    host = PlannedHost()
    host.ask(definition(version=2))
    host.settle()
    host.restart_agent()
    host.issue(7)
    assert [type(action) for action in host.look().actions] == [Start, Fetch]
    assert not published(host).ready
    host.settle()
    assert published(host).ready
