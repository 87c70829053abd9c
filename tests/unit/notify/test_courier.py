"""One receiver that is told: over real HTTP, on a clock that the test moves."""

import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from reconciler.errors import UsageError
from reconciler.model.notifications import CommitStatus, Happening, Notifications, Webhook
from reconciler.model.reports import Word
from reconciler.notify.answers import Later, Never, Taken, Verdict
from reconciler.notify.courier import GIVE_UP_S, PAUSE_S, Courier
from reconciler.notify.message import Message
from reconciler.notify.receivers import About, Audience, Receiver, read_place, receivers
from reconciler.operations.notifying import check_secrets
from tests.support.clock import HandClock
from tests.support.receiver import ReceiverServer

SHA = "6f1c2a9b3c4d5e6f708192a3b4c5d6e7f8091a2b"
OTHER = "b94d27b9934d3e08a52e52d7da7dabfac484efe3"
ABOUT = About(source="fleet", remote="https://git.lan/team/fleet", context="reconciler/fleet")
TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
HOOK = "/services/T024BE7LH/B024BE7LH/abcdefghijklmnop"


def word(seq: int, event: Happening, revision: str = SHA) -> Word:
    return Word(seq=seq, revision=revision, event=event, reason="main/web")


def status_at(url: str, provider: str = "github", **more: str) -> Receiver:
    base = {"github": "", "gitlab": "/api/v4", "gitea": "/api/v1"}[provider]
    settings = CommitStatus(token="env:TOKEN", provider=provider, url=f"{url}{base}", **more)  # type: ignore[arg-type]
    (made,) = receivers(Notifications(commit_statuses=(settings,)), ABOUT)
    return made


def hook_at(**more: object) -> Receiver:
    settings = Webhook(name="slack", url="env:HOOK", body='{"text": "${event}"}', **more)  # type: ignore[arg-type]
    (made,) = receivers(Notifications(webhooks=(settings,)), ABOUT)
    return made


def send(receiver: Receiver, said: Word, url: str = "") -> Verdict:
    message = Message(event=said.event, source="fleet", revision=said.revision, reason=said.reason)
    return receiver.send(message, read_place({"TOKEN": TOKEN, "HOOK": url + HOOK}), 0.0)


class Told:
    """A courier whose steps the test takes."""

    def __init__(self, receiver: Receiver, url: str = "") -> None:
        self.clock = HandClock()
        self.heard = 0
        self.courier = Courier(
            "fleet",
            receiver,
            lambda to, said: send(to, said, url),
            clock=self.clock,
            may_tell=lambda: True,
            on_heard=self._heard,
        )

    def _heard(self) -> None:
        self.heard += 1

    def step(self) -> float | None:
        return self.courier._step()

    def pass_by(self, seconds: float) -> float | None:
        self.clock.pass_by(seconds)
        return self.step()


def requests_of(result: str, receiver: str) -> float:
    labels = {"source": "fleet", "receiver": receiver, "result": result}
    return REGISTRY.get_sample_value("reconciler_notify_requests_total", labels) or 0.0


@pytest.mark.parametrize("provider", ["github", "gitlab", "gitea"])
def test_of_a_commit_that_is_healthy_by_now_only_that_is_said(receiver: ReceiverServer, provider: str) -> None:
    told = Told(status_at(receiver.url, provider))
    told.courier.offer([word(1, Happening.STARTED)], 0)
    assert told.step() == PAUSE_S
    told.courier.offer([word(1, Happening.STARTED), word(2, Happening.SUPERSEDED), word(3, Happening.STARTED, OTHER),
                        word(4, Happening.HEALTHY, OTHER)], 0)  # fmt: skip
    assert told.step() == PAUSE_S  # not more than one in a second
    told.pass_by(PAUSE_S)
    told.pass_by(PAUSE_S)
    assert told.pass_by(PAUSE_S) is None
    assert [described for _, described in receiver.statuses()] == [
        "rolled out: main/web",
        "superseded: main/web",
        "healthy: main/web",
    ]
    assert [each.path.rpartition("/")[2] for each in receiver.requests] == [SHA, SHA, OTHER]
    assert told.courier.heard == 4


def test_a_webhook_hears_what_it_asked_for_and_nothing_twice(receiver: ReceiverServer) -> None:
    told = Told(hook_at(events=("refused", "healthy")), receiver.url)
    said = [word(1, Happening.STARTED), word(2, Happening.HEALTHY), word(3, Happening.SUPERSEDED, OTHER)]
    told.courier.offer(said, 0)
    told.step()
    assert told.pass_by(PAUSE_S) is None
    assert [each.said for each in receiver.requests] == [{"text": "healthy"}]
    assert (told.courier.heard, told.heard) == (3, 1)
    told.courier.offer(said, 0)
    assert told.step() is None


def test_a_gitlab_that_knows_the_state_already_has_taken_it(receiver: ReceiverServer) -> None:
    for _ in range(2):
        assert isinstance(send(status_at(receiver.url, "gitlab"), word(1, Happening.STARTED)), Taken)
    assert len(receiver.requests) == 2


def test_it_is_tried_again_when_the_receiver_wants_it_and_given_up_at_last(
    receiver: ReceiverServer, caplog: pytest.LogCaptureFixture
) -> None:
    told, before = Told(status_at(receiver.url)), requests_of("given_up", "commit-status")
    receiver.answers = [(500, {}, b"oops"), (429, {"Retry-After": "1234"}, b""), (401, {}, f"no {TOKEN}".encode())]
    told.courier.offer([word(1, Happening.STARTED), word(2, Happening.HEALTHY, OTHER)], 0)
    first = told.step()
    assert first is not None
    assert 0.5 < first <= 1.0
    assert told.pass_by(first) == pytest.approx(1234.0)
    assert told.pass_by(1233.0) == pytest.approx(1.0)
    assert len(receiver.requests) == 2
    assert told.pass_by(1.0) != 0
    assert told.heard == 0
    receiver.answers = [(503, {}, b"")]
    told.pass_by(GIVE_UP_S)
    assert (told.heard, told.courier.heard) == (1, 1)
    assert requests_of("given_up", "commit-status") == before + 1
    assert "will not hear that revision 6f1c2a9b3c4d is started: answers 503" in caplog.text
    told.pass_by(GIVE_UP_S)
    assert receiver.statuses(OTHER) == [("success", "healthy: main/web")]
    assert TOKEN not in caplog.text


def test_what_it_will_never_take_holds_up_nothing_else(receiver: ReceiverServer) -> None:
    told = Told(status_at(receiver.url))
    receiver.answers = [(422, {}, b"No commit found for SHA")]
    told.courier.offer([word(1, Happening.STARTED), word(2, Happening.STARTED, OTHER)], 0)
    told.step()
    told.pass_by(PAUSE_S)
    assert told.courier.heard == 2


def test_who_does_not_work_on_the_source_any_more_says_nothing_more(receiver: ReceiverServer) -> None:
    told = Told(status_at(receiver.url))
    told.courier.offer([word(1, Happening.STARTED)], 0)
    told.courier.withdraw()
    assert told.step() is None
    assert told.courier.heard is None
    assert not receiver.requests


def test_a_redirect_takes_no_token_anywhere(receiver: ReceiverServer) -> None:
    for status in (301, 302, 307, 308):
        receiver.answers.append((status, {"Location": f"{receiver.url}/elsewhere"}, b""))
        verdict = send(status_at(receiver.url), word(1, Happening.STARTED))
        assert isinstance(verdict, Never)
    assert [each.path for each in receiver.requests] == [f"/repos/team/fleet/statuses/{SHA}"] * 4


def test_nobody_there_a_hang_and_a_wrong_answer_are_said_without_any_secret(
    receiver: ReceiverServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    found = [send(hook_at(), word(1, Happening.STARTED), nowhere)]
    receiver.free.clear()
    found.append(send(hook_at(timeout="200ms"), word(1, Happening.STARTED), receiver.url))
    receiver.free.set()
    receiver.waits_for(1)
    receiver.answers = [(404, {}, f"there is no {HOOK} here".encode())]
    found.append(send(hook_at(), word(1, Happening.STARTED), receiver.url))
    found.append(send(hook_at(), word(1, Happening.STARTED), "http://example.invalid"))
    found.append(send(hook_at(), word(1, Happening.STARTED), "https://exa mple\n"))
    assert all(isinstance(each, Later) for each in found)
    told = [each.why for each in found if isinstance(each, Later)]
    assert "nobody answers" in told[0]
    assert told[1] == "no answer in time"
    assert told[2].startswith("answers 404: there is no /***")
    assert "has to begin with https://" in told[3]
    assert not any("abcdefghijklmnop" in each or "T024BE7LH" in each for each in told)


def test_a_secret_is_read_anew_each_time_and_may_be_in_a_file(receiver: ReceiverServer, tmp_path: Path) -> None:
    place = tmp_path / "token"
    settings = CommitStatus(token=f"file:{place}", provider="gitea", url=f"{receiver.url}/api/v1")
    (made,) = receivers(Notifications(commit_statuses=(settings,)), ABOUT)
    missing = send(made, word(1, Happening.STARTED))
    assert isinstance(missing, Later)
    assert str(place) in missing.why
    for token in ("first-token", "second-token"):
        place.write_text(f"{token}\n")
        assert isinstance(send(made, word(1, Happening.STARTED)), Taken)
    assert [each.headers["authorization"] for each in receiver.requests] == ["token first-token", "token second-token"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://[::1/hush", "not a URL"),
        ("https://ann:hush\u2100hush@hooks.example.com", "not a URL"),
        ("https://ann:hush@hooks.example.com", "a login in the URL is not sent"),
        ("http://hooks.example.com/hush", "has to begin with https://"),
    ],
)
def test_a_url_that_nothing_is_sent_to_is_said_and_not_shown(url: str, why: str) -> None:
    said = send(hook_at(), word(1, Happening.STARTED), url)
    assert isinstance(said, Later)
    assert why in said.why
    assert "hush" not in said.why
    audience = Audience(ABOUT, (hook_at(),), "")
    with pytest.raises(UsageError, match=why) as raised:
        check_secrets(audience, read_place({"HOOK": url}))
    assert "hush" not in raised.value.message


def test_a_commit_status_needs_a_repository() -> None:
    placed = CommitStatus(token="env:T", provider="gitea", url="https://git.lan/api/v1", repository="team/fleet")
    for settings in (CommitStatus(token="env:T"), placed):  # a folder has no commits, wherever they would go
        with pytest.raises(UsageError, match="there is no git repository here"):
            receivers(Notifications(commit_statuses=(settings,)), About(source="f", context="c"))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[ReceiverServer, Path]]:
    """A server with a certificate that only its own file vouches for."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *options]
    subprocess.run([*made, "-keyout", key, "-out", pem], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + pem.read_text())
    server = ReceiverServer(both)
    yield server, pem
    server.close()


def test_a_server_is_believed_only_with_a_certificate_of_a_known_authority(
    secured: tuple[ReceiverServer, Path],
) -> None:
    server, pem = secured
    refused = send(status_at(server.url), word(1, Happening.STARTED))
    assert isinstance(refused, Later)
    assert refused.why.startswith("TLS: ")
    assert not server.requests
    assert isinstance(send(status_at(server.url, ca_file=str(pem)), word(1, Happening.STARTED)), Taken)


def test_a_link_that_git_servers_do_not_take_is_left_out_and_said_once(
    receiver: ReceiverServer, caplog: pytest.LogCaptureFixture
) -> None:
    status = status_at(receiver.url)
    for link in ("https://x/" + "y" * 245, "https://x/" + "y" * 246, "https://x/" + "y" * 247):
        message = Message(event=Happening.HEALTHY, source="fleet", revision=SHA, link=link)
        assert isinstance(status.send(message, read_place({"TOKEN": TOKEN}), 0.0), Taken)
    assert ["target_url" in each.said for each in receiver.requests] == [True, False, False]
    (said,) = [each.message for each in caplog.records if "has no link" in each.message]
    assert "it came to 256 characters, and git servers take 255" in said
