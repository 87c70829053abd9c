"""An executor that only pretends: the real agent over it is a simulated host. For ``benchmarks.fleet`` and tests."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from reconciler.executors.interface import Keep, Observed, Owner, Ref, ScriptResult, Spec, Swept, never
from reconciler.model.manifests import Container
from reconciler.model.ports import HostPort


class PretendExecutor:
    """Starts and stops at once, in memory; everything that it started runs until it is stopped."""

    name = "bash"

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._changed = threading.Condition()
        self._running: dict[Ref, Observed] = {}
        self._news = False

    def unavailable(self) -> str | None:
        return None

    def publisher(self, port: HostPort) -> str | None:
        return None

    def observe(self) -> Sequence[Observed]:
        with self._changed:
            return tuple(self._running.values())

    def take_over(self, found: Sequence[Observed]) -> None:
        pass

    def prepare(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        pass

    def start(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        observed = Observed(
            ref=spec.ref,
            owner=self._owner,
            digest=spec.digest,
            attempt=spec.attempt,
            running=True,
            started_at=time.time(),
        )
        with self._changed:
            self._running[spec.ref] = observed  # like ``Bash``, it tells of ends only

    def stop(self, ref: Ref, container: Container | None, timeout_s: float, *, strict: bool = False) -> None:
        with self._changed:
            if self._running.pop(ref, None) is not None:
                self._tell()

    def remove(self, ref: Ref) -> None:
        pass

    def sweep(self, keep: Keep, wanted: Sequence[Container]) -> Swept:
        return Swept()

    def run_script(self, ref: Ref, script: str, environment: Mapping[str, str], timeout_s: float) -> ScriptResult:
        return ScriptResult(0, "")

    def logs(self, ref: Ref, tail_lines: int) -> bytes:
        return b""

    def follow(self, ref: Ref, tail_lines: int) -> Iterator[bytes]:
        return iter(())

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._news, timeout_s)
            news, self._news = self._news, False
            return news

    def close(self) -> None:
        with self._changed:
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()
