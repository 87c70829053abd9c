"""What a receiver has yet to hear. Pure; asked by its courier and by whoever writes down what was heard."""

from collections.abc import Sequence

from reconciler.model.reports import Word
from reconciler.notify.receivers import Receiver


def unheard(receiver: Receiver, words: Sequence[Word], heard: int) -> list[Word]:
    """What is to be told, the oldest first."""
    ahead = [word for word in words if word.seq > heard and word.event in receiver.events]
    if not receiver.only_last:
        return ahead
    last = {word.revision: word.seq for word in words}
    return [word for word in ahead if last[word.revision] == word.seq]


def past_what_is_not_told(receiver: Receiver, words: Sequence[Word], heard: int) -> int:
    """``heard``, and all after it that this receiver is never told."""
    ahead = unheard(receiver, words, heard)
    if ahead:
        return ahead[0].seq - 1
    return max(heard, words[-1].seq) if words else heard


def gone(receiver: Receiver, before: Sequence[Word], words: Sequence[Word], heard: int) -> int:
    """How many things that were to be told, and were kept ``before``, are no longer among ``words``."""
    kept = {word.seq for word in words}
    every = sorted({word.seq: word for word in (*before, *words)}.values(), key=lambda word: word.seq)
    return sum(word.seq not in kept for word in unheard(receiver, every, heard))
