"""What a task looks like in Consul: service, meta, checks; and what Consul's checks say about it. Pure.

``consul_registry`` registers these and reads them back. Checks carry the issue and the attempt in their notes, because
the catalog's view of a node shows no service meta: a reading never counts for another issue than it was made of.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from reconciler.health import judge
from reconciler.health.interface import Reading, Registration
from reconciler.model.durations import parse_duration
from reconciler.model.manifests import Check
from reconciler.model.names import port_id, port_name
from reconciler.model.task import Health
from reconciler.store.consul_agent import CheckDefinition, CheckState, CheckStatus, LocalService, ServiceDefinition

STORE: Final = "reconciler_store"
MACHINE: Final = "reconciler_machine"
TASK: Final = "task"
"""Beside a named port: the id of the task, which is also that of the service with its checks."""

NODE_CHECK: Final = "serfHealth"
"""Consul's own check of the node: unless it passes, nothing that the node's agent last said can be believed."""

STATUSES: Final[Mapping[Health, CheckStatus]] = {
    Health.PASSING: "passing",
    Health.WARNING: "warning",
    Health.CRITICAL: "critical",
}


class Mark(msgspec.Struct, frozen=True):
    """Whose a service is: which store's agent registered it, on which machine."""

    store_id: str
    machine: str

    def owns(self, service: LocalService) -> bool:
        """Whether the service is ours to change."""
        return service.meta.get(STORE) == self.store_id and service.meta.get(MACHINE) == self.machine


def services(registration: Registration, mark: Mark, known: Mapping[str, Reading]) -> tuple[ServiceDefinition, ...]:
    """The services of a task: its own, then one for each named port, which is as healthy as the task."""
    own = service(registration, mark, known)
    named = registration.task.named_ports
    return (
        own,
        *(
            msgspec.structs.replace(
                own,
                id=port_id(own.id, port.name),
                name=port_name(own.name, port.name),
                port=named[port.name],
                tags=port.tags,
                meta={**own.meta, TASK: own.id},
                checks=(_alias(own.id, port.name),),
            )
            for port in registration.definition.ports
            if port.name in named
        ),
    )


def task_of(local: LocalService) -> str:
    """The id of the task that a service of ours is of."""
    return local.meta.get(TASK, local.id)


def service(registration: Registration, mark: Mark, known: Mapping[str, Reading]) -> ServiceDefinition:
    """A task's own service, with its checks. ``known``: verdicts by check id that it starts with, so nothing flaps."""
    task, definition = registration.task, registration.definition
    return ServiceDefinition(
        id=task.id,
        name=task.found_as,
        address=registration.address,
        port=task.port,
        tags=definition.tags,
        meta={
            STORE: mark.store_id,
            MACHINE: mark.machine,
            "issue": str(task.issue),
            "attempt": str(registration.attempt),
            "digest": task.digest,
            "version": str(task.task_version),
            "instance": str(task.instance),
        },
        checks=tuple(
            _check(check_id, position, judge.with_port(check, task), registration, known.get(check_id))
            for check_id, (position, check) in judge.check_ids(task.id, definition.checks).items()
        ),
    )


def differs(wanted: ServiceDefinition, local: LocalService | None, checks: Mapping[str, CheckState]) -> bool:
    """Whether the local agent has to be told (again)."""
    if local is None:
        return True
    there = (local.name, local.address, local.port, local.tags, dict(local.meta))
    if there != (wanted.name, wanted.address, wanted.port, wanted.tags, dict(wanted.meta)):
        return True
    return any(check.id not in checks or checks[check.id].service_id != wanted.id for check in wanted.checks)


def same_attempt(registration: Registration, local: LocalService) -> bool:
    """Whether what is registered there is of the same run of the same task, so that its verdicts still hold."""
    mine = (str(registration.task.issue), str(registration.attempt))
    return (local.meta.get("issue"), local.meta.get("attempt")) == mine


def reading(registration: Registration, checks: Mapping[str, CheckState]) -> Reading:
    """What Consul's checks say about a task, together."""
    task = registration.task
    notes = _notes(registration)
    return judge.combine(
        check_reading(checks.get(check_id), task.id, notes)
        for check_id in judge.check_ids(task.id, registration.definition.checks)
    )


def check_reading(state: CheckState | None, task_id: str, notes: str) -> Reading:
    """What one check says; unknown when it is not there, is another issue's, or has not run yet."""
    if state is None or state.service_id != task_id or state.notes != notes:
        return Reading(Health.UNKNOWN, "Consul does not show the check yet")
    if state.status == Health.CRITICAL and not state.output:
        return Reading(Health.UNKNOWN, "the check has not run yet")
    return Reading(Health(state.status) if state.status in STATUSES.values() else Health.UNKNOWN, state.output)


def verdicts(registration: Registration, checks: Mapping[str, CheckState]) -> dict[str, Reading]:
    """What is known of each check of a task, by id; those of which nothing is known are left out."""
    task, notes = registration.task, _notes(registration)
    found = {
        check_id: check_reading(checks.get(check_id), task.id, notes)
        for check_id in judge.check_ids(task.id, registration.definition.checks)
    }
    return {check_id: each for check_id, each in found.items() if each.health is not Health.UNKNOWN}


def node_is_well(checks: Iterable[CheckState]) -> bool:
    """Whether the cluster believes that the node lives."""
    return any(check.id == NODE_CHECK and check.status == Health.PASSING for check in checks)


def _alias(task_id: str, port: str) -> CheckDefinition:
    return CheckDefinition(id=port_id(task_id, port), name=f"health of {task_id}", alias_service=task_id)


def _notes(registration: Registration) -> str:
    return f"issue {registration.task.issue}, attempt {registration.attempt}"


def _check(
    check_id: str, position: int, check: Check, registration: Registration, known: Reading | None
) -> CheckDefinition:
    status = STATUSES.get(known.health) if known else None
    name = judge.check_name(registration.task.id, position, check)
    notes = _notes(registration)
    if check.script:
        return CheckDefinition(id=check_id, name=name, notes=notes, status=status, ttl_s=judge.script_ttl_s(check))
    if check.ttl:
        return CheckDefinition(id=check_id, name=name, notes=notes, status=status, ttl_s=parse_duration(check.ttl))
    return CheckDefinition(
        id=check_id,
        name=name,
        notes=notes,
        status=status,
        http=check.http,
        tcp=check.tcp,
        method=check.method,
        header=check.header,
        tls_skip_verify=check.tls_skip_verify,
        interval_s=judge.interval_s(check),
        timeout_s=judge.timeout_s(check),
        success_before_passing=check.success_before_passing,
        failures_before_critical=check.failures_before_critical,
    )
