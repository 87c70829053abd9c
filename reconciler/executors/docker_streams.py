"""The engine's way of sending a script's output, and two ways to end that: from within, and from another thread."""

import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

from reconciler.executors.commands import OUTPUT_BYTES

_HEADER_BYTES: Final = 8

# For any shell, with nothing but its built-ins: images are small. Shells drop the zero bytes of environ.
KILL_MARKED: Final = """\
for p in /proc/[0-9]*; do
  while IFS= read -r line || [ -n "$line" ]; do
    case "$line" in *"$1"*) kill -9 "${p#/proc/}" ;; esac
  done <"$p/environ"
done 2>/dev/null
"""


def payloads(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What was written, from a stream of frames (stream, three zeros, length, payload) that may be cut anywhere."""
    waiting, left = b"", 0
    for chunk in chunks:
        waiting += chunk
        while waiting:
            if left == 0:
                if len(waiting) < _HEADER_BYTES:
                    break
                left = int.from_bytes(waiting[4:_HEADER_BYTES], "big")
                waiting = waiting[_HEADER_BYTES:]
                continue
            part, waiting = waiting[:left], waiting[left:]
            left -= len(part)
            yield part


def end_of(pieces: Iterable[bytes], most_bytes: int = OUTPUT_BYTES) -> bytes:
    """The last bytes of all that was written, in no more memory than twice that."""
    kept: deque[bytes] = deque()
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        while size - len(kept[0]) >= most_bytes:
            size -= len(kept.popleft())
    return b"".join(kept)[-most_bytes:]


class Shutter:
    """Makes whoever reads a response see its end, from any thread, until the ``with`` is over.

    It has a descriptor of its own: by the time that it is asked, the response's may be that of another connection.
    """

    def __init__(self, response: Any) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is at its end already
            self._connection = socket.socket(fileno=os.dup(response.raw.fileno()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def shut(self) -> None:
        """End it, if there is something left of it."""
        with self._lock, contextlib.suppress(OSError):
            if self._connection is not None:
                self._connection.shutdown(socket.SHUT_RDWR)
