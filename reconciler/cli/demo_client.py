"""A client for ``reconciler demo``: calls a service again and again, as its users would, and counts what fails."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

import msgspec

Address = tuple[str, int]


class Tally(msgspec.Struct, frozen=True):
    """How many requests were answered, by what the answers said of their version, and how the others failed."""

    answered: dict[str, int]
    failures: tuple[str, ...]

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.answered.values()) + len(self.failures)


class Client:
    """Asks ``resolve`` for the healthy addresses (as a resolver with a short cache would) and calls them in turn."""

    def __init__(self, resolve: Callable[[], Sequence[Address]], path: str, *, every_s: float = 0.02) -> None:
        self._resolve = resolve
        self._path = path
        self._every_s = every_s
        self._answered: Counter[str] = Counter()
        self._failures: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return Tally(dict(self._answered), tuple(self._failures))

    def _run(self) -> None:
        turn = 0
        while not self._stopping.wait(self._every_s):
            addresses = self._resolve()
            if not addresses:
                self._failures.append("no healthy task to call")
                continue
            turn += 1
            host, port = addresses[turn % len(addresses)]
            try:
                version = self._call(host, port)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._failures.append(f"{host}:{port}: {type(error).__name__} {error}".rstrip())
            else:
                self._answered[version] += 1

    def _call(self, host: str, port: int) -> str:
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", self._path, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise ValueError(f"answered {answer.status}")
            return str(msgspec.json.decode(body)["version"])
        finally:
            connection.close()
