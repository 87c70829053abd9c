"""Ending: asked, killed or by itself; the exit code is known, the news comes at once, and nothing is left behind."""

import threading

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.interface import Keep, Owner, Ref
from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import FOREVER, POLITE, READY, STUBBORN
from tests.support.wait import wait_until

NOTHING = Keep(ended_s=0, ended=0, downloads_s=0, download_bytes=0)


def test_a_stop_lets_it_finish_what_it_does(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.stop(spec.ref, spec.container, 20)
    observed = stage.seen(spec)
    assert observed is not None
    assert (observed.running, observed.exit_code) == (False, 0)
    assert b"bye" in stage.executor.logs(spec.ref, 10)


def test_what_ignores_a_stop_is_killed_after_the_timeout(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(STUBBORN)))
    stage.executor.stop(spec.ref, spec.container, 1)
    observed = stage.seen(spec)
    assert observed is not None
    assert not observed.running
    assert observed.reason


def test_what_is_being_stopped_is_seen_until_it_has_ended_and_then_as_it_ended(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(f"trap 'sleep 1; exit 7' TERM; {READY}; {FOREVER}")))
    stopping = threading.Thread(target=stage.executor.stop, args=(spec.ref, spec.container, 20))
    stopping.start()
    looks = []
    while stopping.is_alive():
        looks.append(stage.seen(spec))
    stopping.join()
    assert all(each is not None for each in looks), "it holds its place until it has ended"
    assert looks[0].running  # type: ignore[union-attr]
    observed = stage.seen(spec)
    assert observed is not None
    assert (observed.running, observed.exit_code) == (False, 7)


def test_stopping_works_when_the_definition_is_forgotten(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.another_executor().stop(spec.ref, None, 20)
    observed = stage.seen(spec)
    assert observed is not None
    assert (observed.running, observed.exit_code) == (False, 0)


def test_stopping_or_removing_what_is_not_there_does_nothing(stage: Stage) -> None:
    ref = Ref("default-nothing-1-0", 1, "main")
    stage.executor.stop(ref, None, 1)
    stage.executor.remove(ref)
    assert stage.executor.logs(ref, 10) == b""


def test_stopping_what_has_ended_keeps_its_exit_code(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell("exit 4")))
    stage.ended(spec)
    stage.executor.stop(spec.ref, spec.container, 1)
    assert stage.ended(spec).exit_code == 4


@pytest.mark.parametrize("code", [0, 3])
def test_an_end_by_itself_is_seen_with_its_exit_code(stage: Stage, code: int) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(f"echo working; exit {code}")))
    observed = stage.ended(spec)
    assert observed.exit_code == code
    assert str(code) in observed.reason
    assert stage.executor.logs(spec.ref, 10) == b"working\n"


def test_an_end_while_no_agent_was_there_is_seen_with_its_exit_code(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell("sleep 0.5; exit 5")))
    stage.executor.close()
    assert stage.ended(spec, stage.another_executor()).exit_code == 5


def test_a_death_is_news_at_once(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    assert stage.seen(spec)
    stage.settle(stage.executor)
    stage.kit.kill(stage.owner, spec.ref)
    assert stage.executor.wait(30)
    assert not stage.ended(spec).running


def test_a_death_of_what_another_agent_started_is_news_at_once(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    adopting = stage.another_executor()
    assert stage.seen(spec, adopting)
    stage.settle(adopting)
    stage.kit.kill(stage.owner, spec.ref)
    assert adopting.wait(30)
    assert not stage.ended(spec, adopting).running


def test_waiting_ends_when_nothing_happens(stage: Stage) -> None:
    stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.observe()
    wait_until(lambda: not stage.executor.wait(0.2), what="a wait that ends without news")


def test_waiting_ends_when_the_executor_is_closed(stage: Stage) -> None:
    stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    waiting = threading.Thread(target=stage.executor.wait, args=(60.0,), daemon=True)
    waiting.start()
    stage.executor.close()
    waiting.join(20.0)
    assert not waiting.is_alive()


def test_removing_leaves_nothing(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.stop(spec.ref, spec.container, 20)
    assert stage.kit.remains(stage.owner, spec.ref)
    stage.executor.remove(spec.ref)
    assert stage.seen(spec) is None
    assert stage.kit.remains(stage.owner, spec.ref) == []
    stage.executor.remove(spec.ref)


def test_what_runs_is_not_removed(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    with pytest.raises(ExecutorError, match="still runs"):
        stage.executor.remove(spec.ref)
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running


def test_what_another_owner_runs_is_seen_as_theirs_and_never_touched(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    for owner in (Owner("another-store", stage.owner.machine), Owner(stage.owner.store_id, "machine-2")):
        stranger = stage.another_executor(owner)
        seen = [each for each in stranger.observe() if each.owner == stage.owner]
        assert [each.ref for each in seen if each.running] == [spec.ref]
        stranger.stop(spec.ref, spec.container, 1)
        stranger.remove(spec.ref)
        observed = stage.seen(spec)
        assert observed is not None
        assert observed.running


def test_a_sweep_touches_no_container_whoever_made_it(stage: Stage) -> None:
    runs = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    ended = stage.start(stage.spec(stage.kit.shell("echo last words; exit 3"), task="default-web-1-1"))
    assert abs(stage.ended(ended).ended_at - stage.ended(ended).started_at) < 60
    for owner in (stage.owner, Owner("another-store", stage.owner.machine)):
        stage.another_executor(owner).sweep(NOTHING, [])
    assert stage.executor.logs(ended.ref, 10) == b"last words\n"
    observed = stage.seen(runs)
    assert observed is not None
    assert observed.running
    assert observed.ended_at == 0.0


def test_two_owners_run_the_same_task_side_by_side(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    theirs = Owner(f"{stage.owner.store_id}-other", stage.owner.machine)
    other = stage.another_executor(theirs)
    other.start(spec)
    try:
        stage.executor.stop(spec.ref, spec.container, 20)
        assert [each.running for each in other.observe() if each.owner == theirs] == [True]
    finally:
        other.stop(spec.ref, spec.container, 1)
        other.remove(spec.ref)
