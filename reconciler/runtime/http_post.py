"""Sends one request to somebody else's HTTP server, once, and says what came back. ``notify`` calls it.

Never follows a redirect: what is secret in the headers, or is the body, is for the one address that was given.
"""

import time
from collections.abc import Mapping
from typing import Final

import msgspec
import urllib3
import urllib3.exceptions

from reconciler import __version__
from reconciler.errors import ReconcilerError

USER_AGENT: Final = f"reconciler/{__version__}"
_CONNECT_S: Final = 5.0
_MOST_BYTES: Final = 4096
"""So much of an answer is kept, for people to read."""


class Unanswered(ReconcilerError):
    """Nobody answered, or not as they should. Says no more of the address than its host."""


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``headers`` by their lower-case names; ``text`` is the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    text: str


def post(url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float, ca_file: str = "") -> Answer:
    """The answer to ``POST url``. The server is verified, by ``ca_file`` or by what the system believes.

    Raises:
        Unanswered: there is none; the request may have been carried out all the same.
    """
    # an absent option is not the same as None: that would believe nobody
    trust = {"ca_certs": ca_file} if ca_file else {}
    timeout = urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s)
    sent = urllib3.HTTPHeaderDict({"User-Agent": USER_AGENT})
    for name, value in headers.items():
        sent[name] = value
    ends_at = time.monotonic() + timeout_s
    try:
        with urllib3.PoolManager(retries=False, cert_reqs="CERT_REQUIRED", **trust) as pool:  # type: ignore[arg-type]
            answer = pool.request(
                "POST",
                url,
                body=body,
                headers=sent,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            try:
                text = _beginning(answer, ends_at)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, found, text.decode(errors="replace"))
            finally:
                answer.close()
    except (urllib3.exceptions.LocationValueError, urllib3.exceptions.LocationParseError):
        raise Unanswered("what was given is not a URL") from None  # the error shows all of it
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unanswered(_why(error)) from error
    except ValueError:
        raise Unanswered("a header or the URL holds what can't be sent, such as a line break") from None


def _beginning(answer: urllib3.BaseHTTPResponse, ends_at: float) -> bytes:
    """Of the body; the status stands already, so what is late or broken here does not matter."""
    text = b""
    try:
        while len(text) < _MOST_BYTES and time.monotonic() < ends_at:
            piece = answer.read1(_MOST_BYTES - len(text), decode_content=False)
            if not piece:
                break
            text += piece
    except (urllib3.exceptions.HTTPError, OSError):
        pass
    return text


def _why(error: Exception) -> str:
    match error:
        case urllib3.exceptions.SSLError():
            return f"TLS: {error}"
        case urllib3.exceptions.NameResolutionError():
            return "no address is known for its name"
        case urllib3.exceptions.NewConnectionError():
            return f"nobody answers: {error.__cause__ or 'no connection'}"
        case urllib3.exceptions.ConnectTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return "no answer in time"
    return f"the connection broke: {error}"
