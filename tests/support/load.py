"""A client under load: resolves a service through Consul's health API, as its users do, and calls it without pause."""

import http.client
import threading
from collections import Counter
from typing import Any, Self

from tests.support.consul import ConsulAgent


class Client:
    """Counts answers by their body; a request that fails is kept with its reason."""

    def __init__(self, consul: ConsulAgent, name: str) -> None:
        self._consul = consul
        self._name = name
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.fewest: int | None = None
        """How many were passing when they were fewest."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(15)

    def _run(self) -> None:
        turn = 0
        while not self._stopping.wait(0.01):
            found: list[Any] = self._consul.call("GET", f"health/service/{self._name}?passing")
            self.fewest = len(found) if self.fewest is None else min(self.fewest, len(found))
            if not found:
                self.failures.append("nobody is passing")
                continue
            turn += 1
            chosen = found[turn % len(found)]["Service"]
            connection = http.client.HTTPConnection(chosen["Address"], chosen["Port"], timeout=5)
            try:
                connection.request("GET", "/", headers={"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read().decode().strip()
                if answer.status == 200:
                    self.answers[body] += 1
                else:
                    self.failures.append(f"{chosen['ID']}: {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{chosen['ID']}: {type(error).__name__} {error}")
            finally:
                connection.close()
