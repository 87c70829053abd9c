"""Rules of the protocol that show in plans; others are in the scenarios, in ``test_apply`` and in ``test_observe``."""

from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.task import Health, Phase
from reconciler.scheduler.steps import Issue
from tests.support.scheduler_world import World, definition, replace, state


def world(*hosts: str, desired: int = 1) -> World:
    """A running service ``web`` of cluster ``main``."""
    made = World()
    for host in hosts:
        made.host_states[host] = state(host)
        made.present.add(host)
    made.definitions["web", 1] = definition("web", 1)
    made.services["web"] = Service(name="web", task_name="web", task_version=1, desired=desired)
    made.clusters["main"] = Cluster(name="main", services=("web",))
    settle(made)
    return made


def settle(made: World) -> None:
    """Plans and agents in turn until nothing is left to do."""
    for _ in range(20):
        planned = made.plan("main")
        if not planned.steps:
            return
        made.carry_out("main", planned.steps)
        made.run_agents()
    raise AssertionError("it does not end")


def new_ids(made: World) -> list[str]:
    return [action.task.id for action in made.plan("main").actions if isinstance(action, Issue)]


def test_rule_04_a_task_never_changes_its_host() -> None:
    made = world("h1", "h2", "h3")
    homes: dict[tuple[str, int], str] = {}
    for host in ("h1", "h2", "h3", "h1"):
        made.host_configs = {host: Host(name=host, draining=True)}
        for _ in range(10):
            planned = made.plan("main")
            if not planned.steps:
                break
            made.carry_out("main", planned.steps)
            for task in made.tasks.values():
                assert homes.setdefault((task.id, task.issue), task.host) == task.host
            made.run_agents()
        assert all(task.host != host for task in made.tasks.values())
    assert len(homes) >= 4


def test_rule_04_a_move_gets_the_smallest_number_that_no_record_and_no_status_has() -> None:
    made = world("h1", "h2", desired=3)
    assert sorted(made.tasks) == ["main-web-1-0", "main-web-1-1", "main-web-1-2"]
    made.services["web"] = replace(made.services["web"], desired=2)
    made.carry_out("main", made.plan("main").steps)
    gone = {"main-web-1-0", "main-web-1-1", "main-web-1-2"} - set(made.tasks)
    # it still stops on its host, so its number is not free yet
    made.services["web"] = replace(made.services["web"], desired=3)
    assert new_ids(made) == ["main-web-1-3"]
    made.run_agents()
    assert set(new_ids(made)) == gone


def test_rule_04_health_counts_only_where_host_and_issue_match() -> None:
    made = world("h1", "h2")
    (task,) = made.tasks.values()
    made.host_configs = {"h1": Host(name="h1", draining=True)}
    made.carry_out("main", made.plan("main").steps)
    (new,) = (each for each in made.tasks.values() if each.id != task.id)
    made.set_status(new.id, Phase.RUNNING, Health.PASSING)
    made.statuses[new.host][new.id] = replace(made.statuses[new.host][new.id], issue=new.issue - 1)
    assert made.plan("main").steps == ()  # an earlier issue is healthy there, not this one
    made.statuses["h1"][new.id] = replace(made.statuses[new.host][new.id], issue=new.issue)
    assert made.plan("main").steps == ()  # nor does another host's word count
    made.set_status(new.id, Phase.RUNNING, Health.PASSING)
    assert made.plan("main").steps != ()


def test_rule_04_two_clusters_never_make_the_same_id() -> None:
    # validation refuses such names; should they get there all the same, numbers keep the ids apart
    made = world("h1")
    made.services["b-c"] = Service(name="b-c", task_name="web", task_version=1, desired=1)
    made.services["c"] = Service(name="c", task_name="web", task_version=1, desired=1)
    made.clusters |= {"a": Cluster(name="a", services=("b-c",)), "a-b": Cluster(name="a-b", services=("c",))}
    for cluster in ("a", "a-b"):
        made.carry_out(cluster, made.plan(cluster).steps)
    assert {"a-b-c-1-0", "a-b-c-1-1"} <= set(made.tasks)


def test_rule_07_a_task_without_a_host_that_is_present_is_not_healthy() -> None:
    made = world("h1", "h2", "h3", desired=2)
    (first, second) = made.tasks.values()
    made.present.discard(first.host)
    made.host_configs = {second.host: Host(name=second.host, draining=True)}
    made.carry_out("main", made.plan("main").steps)
    made.run_agents()
    # two of three are certainly healthy, so the one on the draining host may go only when it is not needed for min
    assert [step.needs_fresh_health for step in made.plan("main").steps] == []


def test_rule_11_a_definition_that_is_gone_stops_nothing_and_is_missed_by_name() -> None:
    made = world("h1", "h2")
    made.definitions["web", 2] = definition("web", 2)
    made.services["web"] = replace(made.services["web"], task_version=2)
    del made.definitions["web", 2]
    planned = made.plan("main")
    assert planned.steps == ()
    assert [note.reason for note in planned.notes] == ["on hold: task definition web version 2 is not in the store"]


def test_rule_16_a_plan_says_when_to_look_next() -> None:
    made = world("h1", "h2", "h3", desired=3)
    assert made.plan("main").look_again_s is None
    made.present.discard("h3")
    assert made.plan("main").look_again_s == 30
    made.now += 12
    assert made.plan("main").look_again_s == 18
    made.now += 18
    assert made.plan("main").steps != ()
