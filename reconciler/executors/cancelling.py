"""Lets who fetches something go at once when nobody wants it any more, whatever the other side does.

A registry or a server may be silent for minutes, and nothing can be told to a thread that waits for it.
"""

import threading
from collections.abc import Callable
from typing import Final

from reconciler.executors.interface import StartCancelled, unless_cancelled

_LOOK_S: Final = 0.1


def until_cancelled(job: Callable[[Callable[[], bool]], None], is_cancelled: Callable[[], bool]) -> None:
    """Carry out ``job``, or leave it behind once ``is_cancelled`` says so.

    It is given a function that tells it to end as soon as it can look, for good; what becomes of it then, nobody hears.

    Raises:
        StartCancelled: it was left behind.
        Exception: what ``job`` raised.
    """
    unless_cancelled(is_cancelled)
    cut = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            job(cut.is_set)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="fetching", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
        if is_cancelled():
            cut.set()
            raise StartCancelled("the start was cancelled")
    for error in raised:
        raise error
