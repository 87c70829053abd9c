"""When ``reconciler logs`` asks nobody, because it knows better; answers of agents are in tests/integration."""

import pytest

from reconciler.cli.logs import _check_within_reach
from reconciler.errors import ReconcilerError
from reconciler.queries.whereabouts import Whereabouts


def test_an_agent_on_loopback_is_asked_from_its_own_machine_only() -> None:
    here = Whereabouts("main-web-1-0", "h1", "127.0.0.1", "some-machine", "http://127.0.0.1:8231")
    _check_within_reach(here)
    elsewhere = Whereabouts("main-web-1-0", "h2", "192.0.2.77", "another-machine", "http://127.0.0.1:8231")
    with pytest.raises(ReconcilerError, match=r"on h2 .*loopback only") as caught:
        _check_within_reach(elsewhere)
    assert "ssh 192.0.2.77" in str(caught.value)
    assert "--http 192.0.2.77:8231" in str(caught.value)
    assert "token" in str(caught.value)


def test_an_agent_that_serves_nothing_is_said_to() -> None:
    silent = Whereabouts("main-web-1-0", "h1", "127.0.0.1", "some-machine", "")
    with pytest.raises(ReconcilerError, match="h1, whose agent serves no HTTP"):
        _check_within_reach(silent)
