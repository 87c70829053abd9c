"""The health provider of the embedded stores: our agent runs every check itself, and nothing is registered anywhere.

``wiring`` chooses it for every store that is not Consul. It forgets everything when the agent ends; the next agent's
first results come within a second.
"""

import threading
from collections.abc import Collection, Mapping
from typing import Final

from reconciler.health import judge
from reconciler.health.interface import Reading, Registration, ScriptRunner
from reconciler.health.judge import Trail
from reconciler.health.probes import Probe, Probes
from reconciler.model.durations import parse_duration
from reconciler.model.task import Health
from reconciler.runtime.clock import Clock

_EXPIRED: Final = "TTL expired: the task has not reported in time"


class _Ttl:
    """A check that the task passes itself: critical once nothing came for its time."""

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.ttl_s = parse_duration(probe.check.ttl or "0s")
        self.deadline = now + self.ttl_s


class NativeHealth:
    """Runs the checks of the tasks that it is given and remembers what they said."""

    def __init__(self, run_script: ScriptRunner, clock: Clock) -> None:
        self._clock = clock
        self._probes = Probes(run_script, self._result, clock)
        self._changed = threading.Condition()
        self._news = False
        self._closed = False
        self._registrations: dict[str, Registration] = {}
        self._by_check: dict[str, Probe] = {}
        self._trails: dict[str, Trail] = {}
        self._ttls: dict[str, _Ttl] = {}

    def synchronise(self, wanted: Mapping[str, Registration], keep: Collection[str] = ()) -> None:
        """Check exactly the tasks in ``wanted`` (and those in ``keep`` as before)."""
        now = self._clock.monotonic()
        with self._changed:
            kept = {task_id: self._registrations[task_id] for task_id in keep if task_id in self._registrations}
            registrations = {**kept, **wanted}
            if registrations == self._registrations:
                return
            by_check: dict[str, Probe] = {}
            for task_id, registration in registrations.items():
                same = self._registrations.get(task_id) == registration
                for check_id, probe in _probes(registration).items():
                    by_check[check_id] = self._by_check[check_id] if same else probe
                    if not same:
                        self._trails.pop(check_id, None)
                        self._ttls.pop(check_id, None)
                        if probe.check.ttl:
                            self._ttls[check_id] = _Ttl(probe, now)
            self._registrations, self._by_check = registrations, by_check
            self._trails = {check_id: trail for check_id, trail in self._trails.items() if check_id in by_check}
            self._ttls = {check_id: ttl for check_id, ttl in self._ttls.items() if check_id in by_check}
            self._probes.replace({key: probe for key, probe in by_check.items() if not probe.check.ttl})
            # a task without checks has its reading at once, and new deadlines are to be waited for
            self._tell()

    def withdraw(self, task_id: str) -> None:
        """Check a task no more."""
        with self._changed:
            wanted = {key: value for key, value in self._registrations.items() if key != task_id}
        self.synchronise(wanted)

    def readings(self) -> Mapping[str, Reading]:
        """What the checks of each task say now."""
        with self._changed:
            self._expire()
            return {
                task_id: judge.combine(
                    self._trails.get(check_id, Trail()).reading
                    for check_id in judge.check_ids(task_id, registration.definition.checks)
                )
                for task_id, registration in self._registrations.items()
            }

    def report(self, check_id: str, health: Health, output: str) -> bool:
        """The task itself says how it is."""
        with self._changed:
            ttl = self._ttls.get(check_id)
            if ttl is None:
                return False
            ttl.deadline = self._clock.monotonic() + ttl.ttl_s
            self._set(ttl.probe, Trail(Reading(health, output[: judge.OUTPUT_CHARS])))
            return True

    def wait(self, timeout_s: float) -> bool:
        """Block until a verdict changed."""
        end = self._clock.monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                self._expire()
                if self._news:
                    break
                now = self._clock.monotonic()
                if now >= end:
                    break
                deadlines = [ttl.deadline for ttl in self._ttls.values() if ttl.deadline > now]
                self._changed.wait(min([end, *deadlines]) - now)
            news, self._news = self._news, False
            return news

    def close(self) -> None:
        """Run nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._probes.close()

    def _result(self, probe: Probe, reading: Reading) -> None:
        with self._changed:
            if self._by_check.get(probe.id) is probe:
                self._set(probe, self._trails.get(probe.id, Trail()).after(reading, probe.check))

    def _set(self, probe: Probe, trail: Trail) -> None:
        before = self._trails.get(probe.id, Trail())
        self._trails[probe.id] = trail
        if before.reading.health != trail.reading.health:
            self._tell()

    def _expire(self) -> None:
        now = self._clock.monotonic()
        for check_id, ttl in self._ttls.items():
            if now >= ttl.deadline and self._trails.get(check_id, Trail()).reading.health is not Health.CRITICAL:
                self._set(ttl.probe, Trail(Reading(Health.CRITICAL, _EXPIRED)))

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()


def _probes(registration: Registration) -> dict[str, Probe]:
    task = registration.task
    return {
        check_id: Probe(check_id, position, judge.with_port(check, task), registration)
        for check_id, (position, check) in judge.check_ids(task.id, registration.definition.checks).items()
    }
