"""Receivers as an operator has set them up, checked, and able to be sent something. ``wiring`` makes them.

Secrets are read anew for each request, so that a new token needs no restart, and are in nothing that is shown.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from reconciler.errors import UsageError
from reconciler.model.durations import parse_duration
from reconciler.model.faults import Fault
from reconciler.model.notifications import CommitStatus, Happening, Notifications, Webhook
from reconciler.model.reports import Word
from reconciler.notify import requests, templates
from reconciler.notify.answers import Later, Verdict, verdict
from reconciler.notify.git_hosts import api_of, is_private
from reconciler.notify.message import Message
from reconciler.notify.requests import Request
from reconciler.runtime.http_post import Unanswered, post
from reconciler.runtime.secret import read as read_secret

log = logging.getLogger(__name__)

LONGEST_TIMEOUT_S: Final = 60.0
_TELLING: Final = 6
"""So many characters of a secret are hidden even alone."""
_OURS: Final = ("content-length", "host", "transfer-encoding", "connection", "content-encoding")
"""Headers that follow from the request, or decide where it ends."""

ReadSecret: TypeAlias = Callable[[str, str], str]
"""Gives what is at a place (``env:NAME``, ``file:/path``); the first argument says what for. Raises UsageError."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The source whose revisions are told of. ``remote`` is its repository's URL, without a login; empty: a folder.

    ``branch`` is the one that is followed, empty if none is named; ``context`` is how its statuses are called.
    """

    source: str
    environment: str = ""
    location: str = ""
    remote: str = ""
    branch: str = ""
    context: str


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """One that is told. ``host`` is what may be shown of where it is.

    ``only_last``: of several things about one revision it needs the last only.
    """

    name: str
    events: frozenset[Happening]
    only_last: bool
    timeout_s: float
    ca_file: str
    host: str
    request: Callable[[Message, ReadSecret], Request]

    def send(self, message: Message, read: ReadSecret, now: float) -> Verdict:
        """Send it once; ``now`` is wall time."""
        try:
            request = self.request(message, read)
        except UsageError as error:
            return Later(error.message)
        if wrong := wrong_url(request.url):
            return Later(wrong)
        try:
            answer = post(request.url, request.headers, request.body, timeout_s=self.timeout_s, ca_file=self.ca_file)
        except Unanswered as error:
            return Later(_hidden(error.message, request.secrets))
        return verdict(answer.status, answer.headers, _hidden(answer.text, request.secrets), now)


class Audience(msgspec.Struct, frozen=True):
    """All who are told of one source. ``link`` is a template for where people find more."""

    about: About
    receivers: tuple[Receiver, ...]
    link: str

    def message(self, word: Word) -> Message:
        """What a word on one of the source's revisions says to people."""
        about = self.about
        message = Message(
            event=word.event,
            source=about.source,
            environment=about.environment,
            location=about.location,
            revision=word.revision,
            reason=word.reason,
            author=word.author,
            subject=word.subject,
        )
        return msgspec.structs.replace(message, link=templates.filled_link(self.link, message))


def receivers(settings: Notifications, about: About) -> tuple[Receiver, ...]:
    """All of them, in the order of the file.

    Raises:
        UsageError: what a commit status needs does not follow from the source's repository.
    """
    made = [_commit_status(each, about) for each in settings.commit_statuses]
    made += [_webhook(each) for each in settings.webhooks]
    return tuple(made)


def read_place(environ: Mapping[str, str]) -> ReadSecret:
    """Reads secrets out of this process's environment and files."""

    def read(what: str, place: str) -> str:
        kind, _, name = place.partition(":")
        found = read_secret(what, Path(name) if kind == "file" else None, name, environ)
        if found is None:
            raise UsageError(f"{what} is in {place}, which is not set")
        return found.decode()

    return read


def faults(settings: Notifications) -> Iterator[Fault]:
    """What is wrong although every field is well-formed."""
    names: set[str] = set()
    lists: tuple[tuple[str, Sequence[CommitStatus | Webhook]], ...] = (
        ("commit_statuses", settings.commit_statuses),
        ("webhooks", settings.webhooks),
    )
    for field, listed in lists:
        for position, each in enumerate(listed):
            at = (field, position)
            if each.name in names:
                yield Fault((*at, "name"), f"two receivers are called {each.name}; give each its own name")
            names.add(each.name)
            if parse_duration(each.timeout) > LONGEST_TIMEOUT_S:
                yield Fault((*at, "timeout"), f"a timeout is at most {LONGEST_TIMEOUT_S:g}s")
            if isinstance(each, Webhook):
                yield from _webhook_faults(each, at)
    yield from (Fault(("link",), text) for text in templates.faults(settings.link, templates.IN_LINKS))
    if not names:
        yield Fault((), "nobody is told: there is neither a commit status nor a webhook")


def _webhook_faults(hook: Webhook, at: tuple[str | int, ...]) -> Iterator[Fault]:
    check = templates.json_faults if hook.content == "json" else templates.faults
    yield from (Fault((*at, "body"), text) for text in check(hook.body, templates.IN_BODIES))
    for field, listed in (("headers", hook.headers), ("secret_headers", hook.secret_headers)):
        for name in listed:
            if name.lower() in _OURS:
                yield Fault((*at, field, name), f"the header {name} follows from the request; leave it out")


def _commit_status(settings: CommitStatus, about: About) -> Receiver:
    if not about.remote:
        raise UsageError(
            f"notifications: {settings.name} is for commits, and there is no git repository here",
            hint="Give --git; for a folder take commit_statuses out of the file.",
        )
    api = api_of(settings, about.remote)
    is_warned = False

    def request(message: Message, read: ReadSecret) -> Request:
        nonlocal is_warned
        if len(message.link) > requests.LINK_CHARACTERS and not is_warned:
            is_warned = True
            text = "notifications: %s has no link: it came to %d characters, and git servers take %d; shorten `link`"
            log.warning(text, settings.name, len(message.link), requests.LINK_CHARACTERS)
        context = settings.context or about.context
        if message.event is Happening.TEST:
            context = f"{context}/test"  # so that what was said before is not covered
        token = read(f"the token of {settings.name}", settings.token)
        return requests.commit_status(api, context, about.branch, message, token)

    return Receiver(
        name=settings.name,
        events=frozenset(Happening),
        only_last=True,
        timeout_s=parse_duration(settings.timeout),
        ca_file=settings.ca_file,
        host=api.url,
        request=request,
    )


def _webhook(settings: Webhook) -> Receiver:
    def request(message: Message, read: ReadSecret) -> Request:
        url = read(f"the URL of {settings.name}", settings.url)
        headers = {
            name: read(f"the header {name} of {settings.name}", place)
            for name, place in settings.secret_headers.items()
        }
        return requests.webhook(settings, message, url, headers)

    events = frozenset(Happening(each) for each in settings.events) or frozenset(Happening)
    return Receiver(
        name=settings.name,
        events=events | {Happening.TEST},
        only_last=False,
        timeout_s=parse_duration(settings.timeout),
        ca_file=settings.ca_file,
        host=f"the URL in {settings.url}",
        request=request,
    )


def wrong_url(url: str) -> str | None:
    """Why nothing is sent to a URL, without any part of it; None: it is."""
    try:
        login = urlsplit(url).username
    except ValueError:
        return "what was given is not a URL"  # the error shows a part of it
    if login is not None:
        return "a login in the URL is not sent; give it as the header Authorization, in secret_headers"
    if not is_private(url):
        return "what was given has to begin with https://; without TLS only this machine itself is spoken to"
    return None


def _hidden(text: str, secrets: Sequence[str]) -> str:
    """A text in which no secret can be read, nor a telling part of one: of a URL the path, of a header the token."""
    for secret in secrets:
        _, is_url, address = secret.partition("://")
        parts = re.split(r"[/?&=\s]+", address.partition("/")[2] if is_url else secret)
        for part in sorted((secret, *(each for each in parts if len(each) >= _TELLING)), key=len, reverse=True):
            text = text.replace(part, "***")
    return text
