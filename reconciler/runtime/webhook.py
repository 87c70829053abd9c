"""Hears from a git server that something was pushed: ``POST /webhook``. ``reconciler sync`` adds it to its HTTP server.

A call only wakes (rule 17): what is applied is what git says, so the worst that a forged call could do is a look at
git. It is checked all the same, and a delivery counts once.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reconciler.errors import ReconcilerError
from reconciler.runtime.http import Request, Response, Route, json_response
from reconciler.runtime.http_access import Guard
from reconciler.runtime.secret import read as read_secret

REMEMBERED: Final = 1000
"""Deliveries, the last ones."""
SKEW_S: Final = 300.0
"""How old (or how far ahead) a generic call's time may be."""
VARIABLE: Final = "RECONCILER_WEBHOOK_SECRET"


def secret(path: Path | None, environ: Mapping[str, str]) -> bytes | None:
    """The secret out of a file or the environment; None: there is none.

    Raises:
        UsageError: it is empty, or the file can't be read.
    """
    return read_secret("the webhook's secret", path, VARIABLE, environ)


class Webhook:
    """Checks calls of GitHub, Gitea (and Forgejo), GitLab and anybody who can compute an HMAC."""

    def __init__(self, key: bytes, notify: Callable[[], None], *, now: Callable[[], float]) -> None:
        """``notify`` may raise ReconcilerError; ``now`` is wall time."""
        self._key = key
        self._notify = notify
        self._now = now
        self._seen: dict[str, None] = {}
        self._lock = threading.Lock()

    @property
    def route(self) -> Route:
        """What to serve."""
        return Route("POST", "/webhook", self.handle, Guard.OPEN)

    def handle(self, request: Request) -> Response:
        """401 when it is not signed as it should be; 503 when it could not be handed on, so that it is sent again."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = self._check(headers, request.body)
        if found is None:
            return json_response({"error": "not signed with this webhook's secret, or too old"}, 401)
        event, delivery = found
        if event == "ping":
            return json_response({"woken": False, "why": "pong"})
        if not event.startswith(("push", "tag", "create", "release")):
            return json_response({"woken": False, "why": f"{event[:40]} moves no branch"})
        # an id is not signed: the body, which is, must not come again under another one
        marks = [f"id {delivery}"]
        if "x-reconciler-signature" not in headers:  # which signs its time too, so that a body may be the same
            marks.append(f"body {_digest(request.body)}")
        with self._lock:
            if any(mark in self._seen for mark in marks):
                return json_response({"woken": False, "why": "delivered before"})
        try:
            self._notify()
        except ReconcilerError as error:
            return json_response({"error": error.message}, 503)
        with self._lock:
            self._seen |= dict.fromkeys(marks)
            for mark in list(self._seen)[: max(0, len(self._seen) - 2 * REMEMBERED)]:
                del self._seen[mark]
        return json_response({"woken": True})

    def _check(self, headers: Mapping[str, str], body: bytes) -> tuple[str, str] | None:
        """The event and the delivery's id, if the call is from somebody who knows the secret."""
        if "x-gitlab-token" in headers:
            if not hmac.compare_digest(headers["x-gitlab-token"].encode(), self._key):
                return None
            event = headers.get("x-gitlab-event", "").lower()
            return event, headers.get("idempotency-key") or headers.get("x-gitlab-event-uuid") or _digest(body)
        if "x-reconciler-signature" in headers:
            stamp = headers.get("x-reconciler-timestamp", "")
            signed = stamp.encode() + b"." + body
            if not self._is_signed(signed, headers["x-reconciler-signature"]) or not self._is_recent(stamp):
                return None
            return "push", _digest(signed)
        for service in ("github", "gitea"):
            name = "x-hub-signature-256" if service == "github" else "x-gitea-signature"
            if name in headers and self._is_signed(body, headers[name]):
                event = headers.get(f"x-{service}-event", "")
                return event.lower(), headers.get(f"x-{service}-delivery") or _digest(body)
        return None

    def _is_signed(self, content: bytes, signature: str) -> bool:
        expected = hmac.new(self._key, content, hashlib.sha256).hexdigest()
        return hmac.compare_digest(signature.removeprefix("sha256=").encode(), expected.encode())

    def _is_recent(self, stamp: str) -> bool:
        return stamp.isascii() and stamp.isdigit() and len(stamp) < 15 and abs(self._now() - int(stamp)) <= SKEW_S


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
