"""What a receiver has yet to hear, and what it never will since it was too far behind."""

import msgspec

from reconciler.model.notifications import Happening, Notifications, Webhook
from reconciler.model.reports import Word
from reconciler.notify import backlog
from reconciler.notify.receivers import About, Receiver, receivers


def word(seq: int, revision: str, event: Happening) -> Word:
    return Word(seq=seq, revision=revision, event=event)


WORDS = (
    word(1, "r1", Happening.STARTED),
    word(2, "r1", Happening.HEALTHY),
    word(3, "r2", Happening.STARTED),
    word(4, "r2", Happening.HEALTHY),
    word(5, "r3", Happening.STARTED),
)


def receiver(*, only_last: bool = False, **fields: object) -> Receiver:
    hook = Webhook(name="slack", url="env:HOOK", body="{}", **fields)  # type: ignore[arg-type]
    (made,) = receivers(Notifications(webhooks=(hook,)), About(source="fleet", context="x"))
    return msgspec.structs.replace(made, only_last=only_last)


def test_only_what_would_have_been_told_counts_as_never_told() -> None:
    kept = WORDS[3:]
    assert backlog.gone(receiver(), WORDS, kept, heard=0) == 3
    assert backlog.gone(receiver(), WORDS, kept, heard=2) == 1
    assert backlog.gone(receiver(only_last=True), WORDS, kept, heard=0) == 1, "of r2 it is told the last all the same"
    assert backlog.gone(receiver(events=("healthy",)), WORDS, kept, heard=0) == 1
    assert backlog.gone(receiver(), WORDS, WORDS, heard=0) == 0
