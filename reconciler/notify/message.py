"""What is told of a revision, in words for people and as values for templates. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.model.notifications import Happening
from reconciler.model.revisions import short

STATES: Final = {
    Happening.STARTED: "pending",
    Happening.HEALTHY: "success",
    Happening.REFUSED: "failure",
    Happening.FAILED: "failure",
    Happening.TAKEN_BACK: "failure",
    Happening.SUPERSEDED: "superseded",
    Happening.TEST: "success",
}
_PHRASES: Final = {
    Happening.STARTED: "rolled out",
    Happening.HEALTHY: "healthy",
    Happening.REFUSED: "refused",
    Happening.FAILED: "not becoming healthy",
    Happening.TAKEN_BACK: "taken back",
    Happening.SUPERSEDED: "superseded",
    Happening.TEST: "test message",
}
"""What a revision is; each also alone, for a commit."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell. ``location`` is where the source reads from; ``link`` is where people find more."""

    event: Happening
    source: str
    environment: str = ""
    location: str = ""
    revision: str
    reason: str = ""
    author: str = ""
    subject: str = ""
    link: str = ""

    @property
    def state(self) -> str:
        """``pending``, ``success``, ``failure`` or ``superseded``."""
        return STATES[self.event]

    @property
    def short(self) -> str:
        """The revision as people write it."""
        return short(self.revision)

    @property
    def description(self) -> str:
        """One line for a commit, which people see beside it."""
        phrase = _PHRASES[self.event]
        return one_line(f"{phrase}: {self.reason}" if self.reason else phrase)

    @property
    def summary(self) -> str:
        """One line that stands alone."""
        about = ", ".join(filter(None, (self.subject, self.author)))
        verb = ":" if self.event is Happening.TEST else " is"
        told = f"{self.source}: revision {self.short}{f' ({about})' if about else ''}{verb} {_PHRASES[self.event]}"
        return one_line(f"{told}: {self.reason}" if self.reason else told)


def values(message: Message) -> Mapping[str, str]:
    """By name what templates may use."""
    return {
        "event": message.event.value,
        "state": message.state,
        "summary": message.summary,
        "source": message.source,
        "environment": message.environment,
        "revision": message.revision,
        "short": message.short,
        "author": message.author,
        "subject": message.subject,
        "reason": message.reason,
        "location": message.location,
        "link": message.link,
    }


def one_line(text: str) -> str:
    """A text without line breaks and other white space in a row."""
    return " ".join(text.split())
