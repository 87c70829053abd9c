"""The health provider on Consul: tasks become services of the local agent, whose checks are Consul's own.

``wiring`` chooses it for ``consul://`` stores. Script checks are run by us and reported as TTL, so Consul needs no
script checks enabled. What the local agent answers to a registration is not what others see: health is read from the
catalog's view of this node, and what the agent forgot is registered again in the next pass.
"""

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from reconciler.errors import StoreDenied, StoreError, StoreNoLeader, StoreUnreachable
from reconciler.health import consul_service, judge
from reconciler.health.consul_service import Mark
from reconciler.health.interface import Reading, Registration, ScriptRunner
from reconciler.health.judge import Trail
from reconciler.health.probes import Probe, Probes
from reconciler.model import names
from reconciler.model.task import Health
from reconciler.runtime.clock import Clock
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_agent import CheckState, LocalAgent, LocalService, NodeChecks, ServiceDefinition

log = logging.getLogger(__name__)

_SILENT_S: Final = 3.0
"""How often to look at checks that failed in their first run: Consul tells others nothing of it for minutes."""
_FRESH_S: Final = 1.0
"""For how long what a watch returned counts as what is there now, while nobody watches."""


class ConsulRegistry:
    """Registers tasks with the local Consul agent and reads their health from the catalog."""

    def __init__(
        self, agent: LocalAgent, *, store_id: str, machine: str, run_script: ScriptRunner, clock: Clock
    ) -> None:
        """``store_id`` and ``machine`` mark what is ours; services without these marks are never touched."""
        self._agent = agent
        self._mark = Mark(store_id, machine)
        self._clock = clock
        self._probes = Probes(run_script, self._script_result, clock)
        self._lock = threading.Lock()
        self._node: str | None = None
        self._registrations: dict[str, Registration] = {}
        self._not_registered: Mapping[str, str] = {}
        """Why a task that should be registered is not, for reasons of its own."""
        self._trails: dict[str, Trail] = {}
        self._verdicts: dict[str, Reading] = {}
        self._news = True
        self._snapshot: NodeChecks | None = None
        self._watched_until: float | None = None
        """When the watch last returned; None while it blocks, so that the snapshot is what is there now."""

    def synchronise(self, wanted: Mapping[str, Registration], keep: Collection[str] = ()) -> None:
        """Register what the local agent does not have as it should be, take out what nobody wants."""
        local, checks = self._agent.services(), self._agent.checks()
        with self._lock:
            kept = {task_id: self._registrations[task_id] for task_id in keep if task_id in self._registrations}
            before, self._registrations = self._registrations, {**kept, **wanted}
            self._forget_other_attempts(before)
        self._deregister_all_but(wanted, keep, local)
        left_out: dict[str, str] = {}
        for task_id, registration in wanted.items():
            there = local.get(task_id)
            if there is not None and not self._mark.owns(there):
                left_out[task_id] = "somebody else's service of this id is registered with the local Consul agent"
                continue
            known = self._known(registration)
            if there is not None and consul_service.same_attempt(registration, there):
                known = {**known, **consul_service.verdicts(registration, checks)}
            elif there is not None:
                # a check that is registered again keeps its status, and this one belongs to another attempt
                self._agent.deregister_service(task_id)
            try:
                self._register(consul_service.services(registration, self._mark, known), local, checks)
            except (AnswerLost, StoreDenied, StoreNoLeader, StoreUnreachable):
                raise
            except StoreError as error:  # what Consul won't have of one task keeps no other from being found
                left_out[task_id] = error.message
        with self._lock:
            self._not_registered = left_out
            registrations = dict(self._registrations)
        self._probes.replace(_script_probes(registrations.values()))

    def _register(
        self,
        services: Iterable[ServiceDefinition],
        local: Mapping[str, LocalService],
        checks: Mapping[str, CheckState],
    ) -> None:
        """Those that are not there as they should be; the task's own first: what its named ports show is its health."""
        for service in services:
            at = local.get(service.id)
            if (at is None or self._mark.owns(at)) and consul_service.differs(service, at, checks):
                self._agent.register_service(service)

    def withdraw(self, task_id: str) -> None:
        """Take a task out of the local agent, and so out of the catalog."""
        with self._lock:
            known = self._registrations.get(task_id)
        ports = known.task.named_ports if known else ()
        # what is left of a task that this process did not register, the next ``synchronise`` takes out
        for service_id in (*(names.port_id(task_id, port) for port in ports), task_id):
            there = self._agent.service(service_id)
            if there is not None and self._mark.owns(there):
                self._agent.deregister_service(service_id)
        with self._lock:
            self._registrations.pop(task_id, None)
            registrations = dict(self._registrations)
        self._probes.replace(_script_probes(registrations.values()))

    def readings(self) -> Mapping[str, Reading]:
        """The catalog's view of this node's checks, by task."""
        snapshot = self._current()
        checks = {check.id: check for check in snapshot.checks}
        if any(self._is_silent(check) for check in snapshot.checks):
            # Consul tells others of an output that comes without another status only after minutes
            checks |= {each.id: each for each in self._agent.checks().values() if self._is_silent(checks.get(each.id))}
        well = consul_service.node_is_well(snapshot.checks)
        with self._lock:
            answer: dict[str, Reading] = {}
            for task_id, registration in self._registrations.items():
                if task_id in self._not_registered:
                    answer[task_id] = Reading(Health.UNKNOWN, self._not_registered[task_id])
                elif not well:
                    answer[task_id] = Reading(Health.UNKNOWN, "Consul does not see this node as alive")
                else:
                    answer[task_id] = consul_service.reading(registration, checks)
                    self._verdicts.update(consul_service.verdicts(registration, checks))
            return answer

    def report(self, check_id: str, health: Health, output: str) -> bool:
        """Hand a task's own report on to the local agent."""
        with self._lock:
            ours = any(
                check.ttl
                for registration in self._registrations.values()
                for key, (_, check) in judge.check_ids(registration.task.id, registration.definition.checks).items()
                if key == check_id
            )
        status = consul_service.STATUSES.get(health)
        return ours and status is not None and self._agent.update_ttl(check_id, status, output)

    def wait(self, timeout_s: float) -> bool:
        """Block in a read of the catalog until a check of ours changed."""
        with self._lock:
            before, news, self._news = self._snapshot, self._news, False
            silent = before is not None and any(self._is_silent(check) for check in before.checks)
        after = 0 if news or before is None else before.index
        timeout_s = min(timeout_s, _SILENT_S) if silent else timeout_s
        try:
            node = self._node_name()
            with self._lock:
                self._watched_until = None if after else self._watched_until
            snapshot = self._agent.node_checks(node, after, timeout_s)
        except StoreError:
            with self._lock:
                self._node, self._snapshot, self._news = None, None, True
            raise
        if snapshot.index < after:
            snapshot = self._agent.node_checks(node)
        with self._lock:
            self._snapshot, self._watched_until = snapshot, self._clock.monotonic()
            return news or silent or before is None or self._relevant(before) != self._relevant(snapshot)

    def close(self) -> None:
        """Run no more scripts; what is registered stays."""
        self._probes.close()

    def _deregister_all_but(
        self, wanted: Mapping[str, Registration], keep: Collection[str], local: Mapping[str, LocalService]
    ) -> None:
        """Take out what is ours, and is of no task that is to be found, or of a port that its task has no more."""
        ports = {
            names.port_id(task_id, port) for task_id, each in wanted.items() for port in each.task.named_ports
        } | wanted.keys()
        self._deregister(
            each.id
            for each in local.values()
            if self._mark.owns(each) and each.id not in ports and consul_service.task_of(each) not in keep
        )

    def _deregister(self, service_ids: Iterable[str]) -> None:
        """Take services out, those of named ports first: their health is that of the task's own."""
        for service_id in sorted(service_ids, key=len, reverse=True):
            self._agent.deregister_service(service_id)

    def _current(self) -> NodeChecks:
        with self._lock:
            snapshot, until = self._snapshot, self._watched_until
        if snapshot is not None and (until is None or self._clock.monotonic() - until < _FRESH_S):
            return snapshot
        return self._agent.node_checks(self._node_name())

    def _node_name(self) -> str:
        with self._lock:
            node = self._node
        if node is None:
            node = self._agent.identity().node
            with self._lock:
                self._node = node
        return node

    def _relevant(self, snapshot: NodeChecks) -> frozenset[tuple[str, str, str, bool]]:
        return frozenset(
            (check.id, check.status, check.notes, bool(check.output))
            for check in snapshot.checks
            if check.service_id in self._registrations or check.id == consul_service.NODE_CHECK
        )

    def _is_silent(self, check: CheckState | None) -> bool:
        """Whether a check of ours is critical as it was before its first run, as far as others see."""
        return (
            check is not None
            and check.status == Health.CRITICAL
            and not check.output
            and check.service_id in self._registrations
        )

    def _known(self, registration: Registration) -> dict[str, Reading]:
        """The last verdicts of this very attempt, for when the local agent has forgotten it."""
        ids = judge.check_ids(registration.task.id, registration.definition.checks)
        with self._lock:
            return {check_id: self._verdicts[check_id] for check_id in ids if check_id in self._verdicts}

    def _forget_other_attempts(self, before: Mapping[str, Registration]) -> None:
        """Verdicts and trails belong to one attempt. Called under the lock."""
        current: set[str] = set()
        for task_id, registration in self._registrations.items():
            known = before.get(task_id)
            if known is not None and (known.task.issue, known.attempt) == (
                registration.task.issue,
                registration.attempt,
            ):
                current.update(judge.check_ids(task_id, registration.definition.checks))
        self._verdicts = {check_id: each for check_id, each in self._verdicts.items() if check_id in current}
        self._trails = {check_id: each for check_id, each in self._trails.items() if check_id in current}

    def _script_result(self, probe: Probe, result: Reading) -> None:
        with self._lock:
            trail = self._trails.get(probe.id, Trail()).after(result, probe.check)
            self._trails[probe.id] = trail
            status = consul_service.STATUSES.get(trail.reading.health)
        if status is None:
            return
        try:
            if not self._agent.update_ttl(probe.id, status, trail.reading.output):
                with self._lock:
                    self._news = True
        except StoreError as error:
            # the next run says it again, and the TTL bridges some runs
            log.debug("could not report %s to Consul: %s", probe.id, error)


def _script_probes(registrations: Collection[Registration]) -> dict[str, Probe]:
    return {
        check_id: Probe(check_id, position, check, registration)
        for registration in registrations
        for check_id, (position, check) in judge.check_ids(registration.task.id, registration.definition.checks).items()
        if check.script
    }
