"""Runs checks at their intervals in a few threads, however many tasks there are. Both providers use it.

A timer thread hands out what is due, ``Workers`` carry it out. A check first runs at a random moment soon after it was
added, so that a thousand of them never run in step. Until it has passed once it runs about every second, and before
others: a rollout waits for exactly that. Intervals count from the end of a run, as they do in Consul and Docker: a hung
service holds one thread, not many, and a machine that is too busy for all checks runs them less often.
"""

import heapq
import os
import random
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.health import check_run, judge
from reconciler.health.interface import Reading, Registration, ScriptRunner
from reconciler.health.turns import Turns
from reconciler.model.manifests import Check
from reconciler.model.task import Health
from reconciler.runtime.clock import Clock
from reconciler.runtime.workers import Workers

MOST_THREADS: Final = 32
INSIDE_PER_CORE: Final = 1
"""How many scripts run inside containers at once."""
INSIDE_COUNTS_S: Final = 1.0
FIRST_RUN_WITHIN_S: Final = 0.3
EAGER_INTERVAL_S: Final = 1.0
EAGER_FOR_S: Final = 60.0
"""A check that has not passed by then falls back to its own interval."""


class Probe(msgspec.Struct, frozen=True):
    """One check of one registration, ready to run: ``check`` has its port filled in."""

    id: str
    position: int
    check: Check
    registration: Registration


OnResult: TypeAlias = Callable[[Probe, Reading], None]


class _Rhythm:
    """When one probe runs. Changed under the lock of ``Probes``."""

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.interval_s = judge.interval_s(probe.check)
        self.eager_until = now + EAGER_FOR_S

    def pause_s(self, now: float) -> float:
        return min(self.interval_s, EAGER_INTERVAL_S) if now < self.eager_until else self.interval_s


class Probes:
    """The checks that run now, and their rhythm."""

    def __init__(
        self, run_script: ScriptRunner, on_result: OnResult, clock: Clock, *, most_threads: int = MOST_THREADS
    ) -> None:
        """``on_result`` is called from several threads, never twice at once for one probe."""
        self._run_script = run_script
        self._on_result = on_result
        self._clock = clock
        self._http = check_run.HttpChecks()
        self._workers = Workers("check", most_threads)
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._changed = threading.Condition()
        self._rhythms: dict[str, _Rhythm] = {}
        self._due: list[tuple[float, int, _Rhythm]] = []
        self._inside: Turns[_Rhythm] = Turns(INSIDE_PER_CORE * (os.cpu_count() or 1), INSIDE_COUNTS_S)
        self._pushed = 0
        self._closed = False
        self._timer: threading.Thread | None = None

    def replace(self, probes: Mapping[str, Probe]) -> None:
        """Run exactly these, by check id. One that is as before keeps its rhythm."""
        now = self._clock.monotonic()
        with self._changed:
            rhythms: dict[str, _Rhythm] = {}
            for check_id, probe in probes.items():
                known = self._rhythms.get(check_id)
                if known is not None and known.probe == probe:
                    rhythms[check_id] = known
                    continue
                rhythms[check_id] = fresh = _Rhythm(probe, now)
                self._push(now + min(FIRST_RUN_WITHIN_S, fresh.interval_s) * self._rng.random(), fresh)
            self._rhythms = rhythms
            if self._timer is None and rhythms and not self._closed:
                self._timer = threading.Thread(target=self._run, name="checks", daemon=True)
                self._timer.start()
            self._changed.notify()

    def close(self) -> None:
        """Run nothing any more; a check that runs now is left to end by itself."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._workers.close()

    def _push(self, at: float, rhythm: _Rhythm) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (at, self._pushed, rhythm))

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = self._clock.monotonic()
                while self._due and self._due[0][0] <= now:
                    self._begin(heapq.heappop(self._due)[2], now)
                while (rhythm := self._inside.take(now)) is not None:
                    self._submit(rhythm, now)
                times = [self._due[0][0]] if self._due else []
                if (at := self._inside.next_at(now)) is not None:
                    times.append(at)
                self._changed.wait(max(0.001, min(times) - now) if times else None)

    def _begin(self, rhythm: _Rhythm, now: float) -> None:
        if not self._is_wanted(rhythm):
            return
        if rhythm.probe.check.script and rhythm.probe.check.container:
            self._inside.ask(rhythm, is_urgent=now < rhythm.eager_until)
        else:
            self._submit(rhythm, now)

    def _submit(self, rhythm: _Rhythm, now: float) -> None:
        self._workers.submit(lambda: self._carry_out(rhythm), is_urgent=now < rhythm.eager_until)

    def _is_wanted(self, rhythm: _Rhythm) -> bool:
        return self._rhythms.get(rhythm.probe.id) is rhythm and not self._closed

    def _carry_out(self, rhythm: _Rhythm) -> None:
        try:
            with self._changed:
                wanted = self._is_wanted(rhythm)
            reading = self._look(rhythm.probe) if wanted else Reading(Health.UNKNOWN)
            with self._changed:
                wanted = wanted and self._is_wanted(rhythm)
                if reading.health in (Health.PASSING, Health.WARNING):
                    rhythm.eager_until = 0.0
            if wanted:
                self._on_result(rhythm.probe, reading)
        finally:
            with self._changed:
                self._inside.ended(rhythm)
                now = self._clock.monotonic()
                self._push(now + rhythm.pause_s(now), rhythm)
                self._changed.notify()

    def _look(self, probe: Probe) -> Reading:
        check, timeout_s = probe.check, judge.timeout_s(probe.check)
        if check.http:
            return self._http.run(check.http, check, timeout_s)
        if check.tcp:
            return check_run.tcp(check.tcp, timeout_s)
        return self._run_script(probe.registration, probe.position, timeout_s)
