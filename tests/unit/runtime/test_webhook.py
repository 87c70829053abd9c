"""The webhook: whose calls count, which, and how often."""

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest

from reconciler.errors import StoreUnreachable, UsageError
from reconciler.runtime.http import Request, Response
from reconciler.runtime.webhook import REMEMBERED, SKEW_S, Webhook, secret

KEY = b"key"
NOW = 1_700_000_000.0


class Hook:
    def __init__(self) -> None:
        self.woken = 0
        self.is_away = False
        self.webhook = Webhook(KEY, self.wake, now=lambda: NOW)

    def wake(self) -> None:
        if self.is_away:
            raise StoreUnreachable("the store is away")
        self.woken += 1

    def call(self, headers: dict[str, str], body: bytes = b"{}") -> Response:
        return self.webhook.handle(Request("POST", "/webhook", (), {}, headers, body))


@pytest.fixture
def hook() -> Hook:
    return Hook()


def signed(content: bytes, key: bytes = KEY) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def github(body: bytes, delivery: str = "1", event: str = "push") -> dict[str, str]:
    return {"X-GitHub-Event": event, "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": f"sha256={signed(body)}"}


def gitea(body: bytes) -> dict[str, str]:
    return {"X-Gitea-Event": "push", "X-Gitea-Delivery": "1", "X-Gitea-Signature": signed(body)}


GITLAB = {"X-Gitlab-Token": "key", "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "1"}


def generic(body: bytes, at: float = NOW, key: bytes = KEY) -> dict[str, str]:
    stamp = str(int(at))
    return {
        "x-reconciler-timestamp": stamp,
        "x-reconciler-signature": f"sha256={signed(stamp.encode() + b'.' + body, key)}",
    }


@pytest.mark.parametrize("headers", [github(b"{}"), gitea(b"{}"), GITLAB, generic(b"{}")])
def test_rule_17_a_signed_push_wakes_and_counts_once(hook: Hook, headers: dict[str, str]) -> None:
    assert hook.call(headers).status == 200
    again = hook.call(headers)
    assert (again.status, hook.woken) == (200, 1)
    assert b"delivered before" in bytes(again.body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-GitHub-Event": "push"},
        github(b"another body"),
        gitea(b"another body"),
        GITLAB | {"X-Gitlab-Token": "kez"},
        GITLAB | {"X-Gitlab-Token": "é"},
        GITLAB | {"X-Gitlab-Token": ""},
        generic(b"{}", key=b"other"),
        generic(b"{}", at=NOW - SKEW_S - 1),
        generic(b"{}", at=NOW + SKEW_S + 2),
        generic(b"{}") | {"x-reconciler-timestamp": "²"},
        github(b"{}") | {"X-Hub-Signature-256": "é"},
    ],
)
def test_whoever_does_not_know_the_secret_wakes_nobody(hook: Hook, headers: dict[str, str]) -> None:
    assert (hook.call(headers).status, hook.woken) == (401, 0)


def test_a_body_replayed_under_another_delivery_id_does_not_count(hook: Hook) -> None:
    hook.call(github(b"{}", "1"))
    hook.call(github(b"{}", "2"))
    assert hook.woken == 1


def test_other_events_wake_nobody(hook: Hook) -> None:
    assert hook.call(github(b"{}", event="ping")).status == 200
    assert hook.call(github(b"{}", event="issues")).status == 200
    assert hook.woken == 0


def test_a_delivery_that_could_not_be_handed_on_may_come_again(hook: Hook) -> None:
    hook.is_away = True
    assert hook.call(github(b"{}")).status == 503
    hook.is_away = False
    assert hook.call(github(b"{}")).status == 200
    assert hook.woken == 1


def test_only_so_many_deliveries_are_remembered(hook: Hook) -> None:
    for number in range(REMEMBERED + 50):
        hook.call(github(str(number).encode(), str(number)), str(number).encode())
    assert hook.woken == REMEMBERED + 50
    assert len(hook.webhook._seen) <= 2 * REMEMBERED
    hook.call(github(b"1000", "1000"), b"1000")
    assert hook.woken == REMEMBERED + 50


def test_the_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("abc\n")
    assert secret(file, {}) == b"abc"
    assert secret(None, {"RECONCILER_WEBHOOK_SECRET": "def"}) == b"def"
    assert secret(None, {}) is None
    file.write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        secret(file, {})
    with pytest.raises(UsageError, match="cannot be read"):
        secret(tmp_path / "none", {})


def test_the_answer_is_json(hook: Hook) -> None:
    assert msgspec.json.decode(hook.call(github(b"{}")).body) == {"woken": True}  # type: ignore[arg-type]
