"""Whom a sync tells of revisions, as its operator's file says; and a test message to them.

``reconciler sync --notify`` and ``reconciler notify test`` call it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests import git_remote
from reconciler.manifests.notifications_file import read_notifications
from reconciler.manifests.source import Source
from reconciler.model.notifications import Happening, Notifications
from reconciler.model.reports import Word
from reconciler.notify.answers import Taken
from reconciler.notify.message import Message
from reconciler.notify.receivers import About, Audience, ReadSecret, faults, receivers, wrong_url


class Shown(msgspec.Struct, frozen=True):
    """A request as people may see it: in the place of a secret stands where it is."""

    receiver: str
    url: str
    headers: Mapping[str, str]
    body: str


class Sent(msgspec.Struct, frozen=True):
    """What came of telling one receiver."""

    receiver: str
    to: str
    delivered: bool
    answer: str


def notifications(path: Path) -> Notifications:
    """Whom the file at ``path`` says to tell.

    Raises:
        UsageError: it says nothing that could be done; with every problem and its line.
    """
    return read_notifications(path, faults)


def about(source: Source, *, git_url: str | None, branch: str | None) -> About:
    """What others are told of a source. Its statuses are called after its environment if its name says no more.

    ``git_url`` is None for a folder.
    """
    environment = source.environment or ""
    default = f"{git_remote.source_name_of(git_url)}-{environment}" if git_url else ""
    return About(
        source=source.name,
        environment=environment,
        location=source.location,
        remote=git_remote.git_remote(git_url).url if git_url else "",
        branch=branch or "",
        context=f"reconciler/{environment if environment and source.name == default else source.name}",
    )


def audience(settings: Notifications, about: About, names: Sequence[str] = ()) -> Audience:
    """Those who are told; with ``names`` only these.

    Raises:
        UsageError: nothing says where a commit status is to go, or there is nobody of such a name.
    """
    made = receivers(settings, about)
    known = {each.name: each for each in made}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no receiver {name!r}", hint=f"There are {', '.join(known)}.")
    return Audience(about, tuple(known[name] for name in names) if names else made, settings.link)


def check_secrets(audience: Audience, read: ReadSecret) -> None:
    """Raises UsageError when one is not where it should be, or is a URL that nothing is sent to."""
    for each in audience.receivers:
        request = each.request(_test_message(audience, "", ""), read)
        if wrong := wrong_url(request.url):
            raise UsageError(f"notifications: {each.name}: {each.host}: {wrong}")


def shown(audience: Audience, revision: str, by: str) -> tuple[Shown, ...]:
    """What a test would send."""
    message = _test_message(audience, revision, by)
    requests = [(each.name, each.request(message, _places)) for each in audience.receivers]
    return tuple(Shown(name, each.url, each.headers, each.body.decode()) for name, each in requests)


def send_test(audience: Audience, revision: str, by: str, *, read: ReadSecret, now: float) -> tuple[Sent, ...]:
    """Send a test message to each, once; ``now`` is wall time."""
    message = _test_message(audience, revision, by)
    found = []
    for each in audience.receivers:
        verdict = each.send(message, read, now)
        answer = f"answers {verdict.status}" if isinstance(verdict, Taken) else verdict.why
        found.append(Sent(each.name, each.host, isinstance(verdict, Taken), answer))
    return tuple(found)


def _places(what: str, place: str) -> str:  # noqa: ARG001 - as secrets are read
    return f"<{place}>"


def _test_message(audience: Audience, revision: str, by: str) -> Message:
    subject = "Test of notifications"
    return audience.message(
        Word(seq=0, revision=revision, event=Happening.TEST, reason=f"sent by {by}", author=by, subject=subject)
    )
