"""What operators say of a rollout, by ``promote`` and ``abort``: one key, by compare-and-set, as in ``overrides``."""

from typing import Final

import msgspec

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode, digest
from reconciler.model.manifests import Service, TaskDefinition
from reconciler.model.overrides import Verdict
from reconciler.model.task import Rollout, RolloutPhase
from reconciler.operations import override_records
from reconciler.operations.overrides import Overridden, Said, warnings_of
from reconciler.store.interface import Store

_OPEN: Final = (RolloutPhase.CANARY, RolloutPhase.ROLLING)
_ENDED: Final = (RolloutPhase.REVERTING, RolloutPhase.REVERTED, RolloutPhase.FAILED)


def decide(store: Store, name: str, *, promote: bool, said: Said) -> Overridden:
    """Say of a service's rollout that it goes on (or is tried again), or that it goes back.

    Raises:
        UsageError: there is no such service, or its task definition is missing.
        RevisionRefused: there is no rollout of which that could be said, or nothing to go back to.
    """
    service = override_records.service(store, name)
    key = keys.task_definition(service.task_name, service.task_version)
    entry = store.get(key)
    if entry is None:
        raise UsageError(
            f"service {name} runs version {service.task_version} of {service.task_name}, which is not stored"
        )
    target = digest(decode(entry.value, TaskDefinition, key))
    clusters = override_records.clusters_of(store, name)
    mine = [each for each in override_records.rollouts(store, clusters, name) if each.target_digest == target]
    phases = [each.phase for each in mine]
    wanted = (RolloutPhase.CANARY, *_ENDED) if promote else _OPEN
    if not any(phase in wanted for phase in phases):
        what = "waits to be promoted, or was given up" if promote else "is under way"
        stands = f"it is {', '.join(sorted(set(phases)))}" if phases else "no scheduler has begun it"
        raise RevisionRefused(
            f"no rollout of service {name} to version {service.task_version} {what}: {stands}",
            hint=_instead(name, phases, promote=promote),
        )
    what = f"version {service.task_version} goes on to all tasks"
    if not promote:
        what = _taken_where(store, service, [each for each in mine if each.phase in _OPEN])
    verdict = Verdict(
        promote=promote,
        target_version=service.task_version,
        target_digest=target,
        by=said.by,
        reason=said.reason,
        since=said.now,
    )
    override_records.of_service(store, name, lambda override: msgspec.structs.replace(override, verdict=verdict))
    return Overridden(
        object=f"service {name}",
        what=what,
        key=keys.service(name),
        managed_by=service.managed_by,
        warnings=warnings_of(store, clusters, name, said.now),
    )


def _instead(name: str, phases: list[RolloutPhase], *, promote: bool) -> str | None:
    """What to do where there is nothing to decide."""
    if promote and RolloutPhase.ROLLING in phases:
        return f"It goes on by itself; `reconciler explain {name}` says what it waits for."
    if not promote and RolloutPhase.COMPLETED in phases:
        return "To run an earlier version again, declare it: write its number into the service's task_version."
    if not promote and phases:
        return f"It has been given up already; `reconciler promote {name}` tries it again."
    return None


def _taken_where(store: Store, service: Service, open_ones: list[Rollout]) -> str:
    """What becomes of a version that is aborted.

    Raises:
        RevisionRefused: it is the first one, so it is tried on.
    """
    version = service.task_version
    if service.kind == "batch":
        return f"version {version} is given up: no more of it starts, and what runs comes to its end"
    later = [each for each in open_ones if each.previous_task is not None and each.previous_version is not None]
    if not later:
        raise RevisionRefused(
            f"version {version} is the first of service {service.name}: there is no other to go back to",
            hint=f"`reconciler stop {service.name}` stops it.",
        )
    for each in later:
        before = each.goes_back_to
        if before is None or store.get(keys.task_definition(*before)) is None:
            return f"version {version} is given up: what it was before is not stored, so what is healthy stays as it is"
    task, number = later[0].previous_task, later[0].previous_version
    other = "" if task == service.task_name else f"{task} "
    return f"version {version} is taken back: {other}version {number} takes its place again"
