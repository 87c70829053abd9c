"""What operators do to a source, with the real program on a real repository: roll back, suspend, push by webhook."""

import hashlib
import hmac
import http.client
import json
import re
import time
from typing import Any

import pytest

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.source_state import SourceState
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, DeleteIf, PutIf, Store
from tests.support.git import GitRepository
from tests.support.program import Daemon, Program
from tests.support.sync import change, config, manifest, state
from tests.support.wait import wait_until

SECRET = "a secret of this test"
SERVICE = "config/services/web"


@pytest.fixture
def fleet(program: Program, repository: GitRepository) -> GitRepository:
    """A repository with one service, that runs nowhere."""
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    repository.commit({"web.json": manifest(["web"], desired=1)}, "One web")
    return repository


@pytest.fixture
def store(program: Program, fleet: GitRepository) -> Any:
    """How the test looks at the program's store, once it is there."""
    program.ok("store", "init")
    with_store = open_store(program.environ["RECONCILER_STORE"], environ={})
    yield with_store
    with_store.close()


def sync(program: Program, fleet: GitRepository, *more: str, poll_s: float = 0.3) -> Daemon:
    return program.start(
        *("sync", "--git", fleet.url, "--name", "fleet", "--poll", str(poll_s), "--http", "127.0.0.1:0", *more)
    )


def wait_for(store: Store, desired: int) -> None:
    def look() -> bool:
        return config(store).get(SERVICE, {}).get("desired") == desired

    wait_until(look, what=f"{desired} instances to be wanted")


def by_hand(store: Store, desired: int) -> None:
    entry = store.get(SERVICE)
    assert entry is not None
    assert isinstance(store.commit([PutIf(SERVICE, change(entry.value, desired=desired), entry.index)]), Committed)


def source_row(program: Program) -> dict[str, Any]:
    (row,) = json.loads(program.run("status", "--format", "json").stdout)["sources"]
    return dict(row)


def test_rollback_works_with_git_down_survives_a_restart_and_ends_at_the_next_commit(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    """Argo CD: a rollback fought auto-sync, and needed git to be up."""
    daemon = sync(program, fleet)
    wait_for(store, 1)
    good = fleet.head
    bad = fleet.commit({"web.json": manifest(["web"], desired=9)}, "Nine by mistake")
    wait_for(store, 9)

    away = fleet.path.with_name("away")
    fleet.path.rename(away)
    program.ok("rollback", "fleet", good[:8], "--reason", "nine are too many", "--by", "ann")
    wait_for(store, 1)
    row = source_row(program)
    assert not row["ok"]
    assert row["rollback"] | {"since": 0} == {
        "revision": good, "skips": [bad], "by": "ann", "reason": "nine are too many", "since": 0,
    }  # fmt: skip
    assert daemon.stop() == 0
    daemon = sync(program, fleet)
    by_hand(store, 5)
    wait_for(store, 1)

    away.rename(fleet.path)
    fleet.commit({"web.json": manifest(["web"], desired=2)}, "Two")
    wait_for(store, 2)
    wait_until(lambda: source_row(program)["ok"], what="the source to be well again")
    rows = json.loads(program.ok("history", "fleet", "--format", "json"))
    assert [(row["subject"], row["result"]) for row in rows] == [
        ("Two", "applied"),
        ("One web", "repaired"),
        ("One web", "rolled back"),
        ("Nine by mistake", "applied"),
        ("One web", "applied"),
    ]
    assert rows[2]["detail"] == "by ann: nine are too many"
    assert (rows[3]["author"], rows[3]["updated"]) == ("Ann Author", 1)
    assert "Nine by mistake" in program.ok("history", "fleet")


def test_a_suspended_source_is_left_alone_drift_included_and_is_not_shown_as_healthy(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    """Flux: a forgotten suspension was shown green."""
    sync(program, fleet)
    wait_for(store, 1)
    program.ok("suspend", "fleet", "--reason", "moving house", "--until", "2h", "--by", "ann")
    wait_until(lambda: "suspended by ann" in program.daemons[0].output(), what="sync to hear of it")
    by_hand(store, 4)
    fleet.commit({"web.json": manifest(["web"], desired=7)})
    before = {key: store.get(key) for key in (SERVICE, keys.source("fleet"))}

    shown = program.run("status")
    assert shown.returncode == 1
    assert re.search(r"fleet: suspended by ann until 20\S+ \S+: moving house", shown.stdout)
    once = program.run("sync", "--git", fleet.url, "--name", "other", "--once")
    assert once.returncode == 1, "another source still works: its objects are refused, since they are the fleet's"
    assert {key: store.get(key) for key in before} == before

    assert "is resumed" in program.ok("resume", "fleet")
    wait_for(store, 7)
    assert program.run("resume", "fleet").returncode == 1


def test_once_refuses_a_suspended_source_and_says_who(program: Program, fleet: GitRepository, store: Store) -> None:
    words = ("sync", "--git", fleet.url, "--name", "fleet", "--once")
    program.ok(*words)
    program.ok("suspend", "fleet", "--by", "ann", "--reason", "no reason")
    refused = program.run(*words)
    assert refused.returncode == 1
    assert "suspended by ann: no reason" in refused.stderr
    assert "reconciler resume fleet" in refused.stderr


def test_a_suspension_ends_by_itself(program: Program, fleet: GitRepository, store: Store) -> None:
    sync(program, fleet)
    wait_for(store, 1)
    program.ok("suspend", "fleet", "--until", "3s")
    wait_until(lambda: "suspended by" in program.daemons[0].output(), what="sync to hear of it")
    by_hand(store, 4)
    wait_for(store, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("suspend", "nobody"), "there is no source nobody"),
        (("suspend", "fleet", "--until", "soon"), "neither a duration such as"),
        (("suspend", "fleet", "--until", "2001-01-01"), "is over already"),
        (("rollback", "fleet", "abcd"), "is no revision in the history of source fleet"),
        (("history", "nobody"), "There is fleet."),
    ],
)
def test_what_can_not_be_meant_is_refused_with_a_hint(
    program: Program, fleet: GitRepository, store: Store, words: tuple[str, ...], said: str
) -> None:
    program.ok("sync", "--git", fleet.url, "--name", "fleet", "--once")
    done = program.run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_rolling_back_to_a_revision_that_the_mirror_lacks_changes_nothing_and_says_so(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    sync(program, fleet)
    wait_for(store, 1)
    program.ok("rollback", "fleet", "0" * 40)
    wait_until(lambda: source_row(program)["problems"], what="the problem to be shown")
    assert "can't be had here" in source_row(program)["problems"][0]
    assert config(store)[SERVICE]["desired"] == 1
    assert "follows its newest revision again" in program.ok("resume", "fleet")
    wait_until(lambda: source_row(program)["ok"], what="the source to be well again")


def test_drift_is_reported_and_left_when_asked_and_the_next_revision_puts_it_right(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    sync(program, fleet, "--drift=report")
    wait_for(store, 1)
    by_hand(store, 6)
    wait_until(lambda: source_row(program)["drift"], what="the drift to be shown")
    row = source_row(program)
    assert row["drift"] == ["update service web (desired)"]
    assert not row["ok"]
    assert config(store)[SERVICE]["desired"] == 6
    fleet.commit({"web.json": manifest(["web"], desired=2)})
    wait_for(store, 2)
    wait_until(lambda: source_row(program)["ok"], what="the drift to be over")


def test_an_object_deleted_by_hand_and_left_so_is_not_taken_for_an_incomplete_reading(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    sync(program, fleet, "--drift=report")
    wait_for(store, 1)
    entry = store.get("config/clusters/main")
    assert entry is not None
    store.commit([DeleteIf(entry.key, entry.index)])

    def look() -> SourceState | None:
        found = state(store, "fleet")
        return found if found.drift else None

    found = wait_until(look, what="the drift to be shown")
    assert found.drift == ("create cluster main",)
    assert found.mark.counts.clusters == 0
    assert len(encode(found)) < 4096


def call(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/webhook", body, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def port_of(daemon: Daemon) -> int:
    found = wait_until(lambda: re.search(r"listening on http://127.0.0.1:(\d+)", daemon.output()), what="the server")
    return int(found[1])


def test_a_signed_push_is_live_at_once_also_when_a_standby_gets_it(
    program: Program, fleet: GitRepository, store: Store
) -> None:
    file = program.folder / "secret"
    file.write_text(SECRET + "\n")
    first = sync(program, fleet, "--webhook-secret-file", str(file), poll_s=3600)
    wait_for(store, 1)
    standby = sync(program, fleet, "--webhook-secret-file", str(file), poll_s=3600)
    wait_until(lambda: "standing by" in standby.output(), what="a standby")
    for desired, daemon in ((2, first), (3, standby)):
        fleet.commit({"web.json": manifest(["web"], desired=desired)})
        body = json.dumps({"ref": "refs/heads/main", "after": fleet.head}).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": f"d{desired}",
            "X-Hub-Signature-256": "sha256=" + signature,
        }
        assert call(port_of(daemon), body, headers) == (200, {"woken": True})
        wait_for(store, desired)
    assert call(port_of(first), b"{}", headers)[0] == 401
    assert SECRET not in first.output() + standby.output()


def test_a_generic_call_signs_its_time(program: Program, fleet: GitRepository, store: Store) -> None:
    program.environ["RECONCILER_WEBHOOK_SECRET"] = SECRET
    daemon = sync(program, fleet, poll_s=3600)
    wait_for(store, 1)
    fleet.commit({"web.json": manifest(["web"], desired=2)})
    stamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"{stamp}.{{}}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-Reconciler-Timestamp": stamp, "X-Reconciler-Signature": "sha256=" + signature}
    assert call(port_of(daemon), b"{}", headers) == (200, {"woken": True})
    wait_for(store, 2)
    assert call(port_of(daemon), b"{}", headers)[1]["woken"] is False


def test_without_a_secret_there_is_no_webhook(program: Program, fleet: GitRepository, store: Store) -> None:
    assert call(port_of(sync(program, fleet)), b"{}", {})[0] == 404


def test_history_says_what_was_refused_and_why_once(program: Program, fleet: GitRepository, store: Store) -> None:
    sync(program, fleet)
    wait_for(store, 1)
    bad = fleet.commit({"web.json": "{}"}, "Empty it")
    wait_until(lambda: state(store, "fleet").seen == bad, what="the bad revision to be seen")
    fleet.commit({"web.json": manifest(["web"], desired=2)}, "Two")
    wait_for(store, 2)
    rows = json.loads(program.ok("history", "fleet", "--format", "json"))
    assert [(row["subject"], row["result"]) for row in rows] == [
        ("Two", "applied"),
        ("Empty it", "refused"),
        ("One web", "applied"),
    ]
    assert "RC0" in rows[1]["detail"] or "declares nothing" in rows[1]["detail"]
