"""What an agent knows of what is issued, with a store that answers and one that is not its own."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.agent.host_view import IssuedView
from reconciler.agent.observe import ExecutorSource, IssuedSource
from reconciler.agent.settings import AgentSettings
from reconciler.errors import ExecutorError, StoreNotOurs
from reconciler.executors.interface import Observed, Owner
from reconciler.model import codec
from reconciler.runtime.clock import SystemClock
from reconciler.store import sentinel
from reconciler.store.memory import MemoryStore
from tests.support.clock import HandClock
from tests.support.planned_host import definition
from tests.support.pretend_executor import PretendExecutor

SETTINGS = AgentSettings(host="h1", address="10.0.0.1", runtime_dir=Path("run"))


def test_definitions_that_an_earlier_agent_kept_are_known_also_while_the_store_answers() -> None:
    store, made_of = MemoryStore(), definition()
    owner = Owner(sentinel.ensure(store, "store-1"), "h1@machine-1")
    kept = {codec.digest(made_of): made_of}
    source = IssuedSource(store, owner, SETTINGS, SystemClock(), definitions=kept)
    source.look()
    assert source.view.known
    assert source.view.definitions == kept, "by them it stops what was taken back meanwhile"


def test_an_answer_of_another_store_is_noticed_by_an_agent_that_goes_on_with_what_it_recalls() -> None:
    store = MemoryStore()
    sentinel.ensure(store, "store-2")
    recalled = IssuedView(remembered=True)
    source = IssuedSource(store, Owner("store-1", "h1@machine-1"), SETTINGS, SystemClock(), recalled=recalled)
    with pytest.raises(StoreNotOurs):
        source.look()
    assert source.view.not_ours
    assert source.view.remembered


def test_an_engine_that_fails_slowly_is_never_told_as_one_that_can_be_seen() -> None:
    clock = HandClock()

    class Away(PretendExecutor):
        def observe(self) -> Sequence[Observed]:
            clock.pass_by(0.15)
            raise ExecutorError("it is away")

    source = ExecutorSource(Away(Owner("a-store", "machine")), clock, lambda: True)
    for _ in range(3):
        with pytest.raises(ExecutorError, match="it is away"):
            source.look()
