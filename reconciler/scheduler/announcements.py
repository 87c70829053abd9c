"""What a person should hear of a scheduler's pass, each thing once: what was done, and what newly stands in the way."""

import re
from collections.abc import Mapping, Sequence

from reconciler.model.events import Event, Level
from reconciler.model.task import Decision
from reconciler.scheduler.steps import Plan

LOOP = "scheduler"


def of_decisions(cluster: str, decisions: Sequence[Decision]) -> list[Event]:
    """One event for each decision that was carried out."""
    return [
        Event(
            loop=LOOP,
            subject=f"{cluster}/{decision.service}" if decision.service else cluster,
            message=f"{decision.what}: {decision.why}" if decision.why else decision.what,
        )
        for decision in decisions
    ]


def of_obstacles(plan: Plan, said: Mapping[str, str]) -> tuple[list[Event], dict[str, str]]:
    """Events for obstacles that were not there in the last pass, and what to remember for the next one.

    A reason in which only numbers changed is not news.
    """
    found: dict[str, Event] = {}
    if plan.hold is not None:
        found["hold"] = _event(plan.cluster, f"nothing is changed: {plan.hold}", Level.WARNING)
    if plan.brake is not None:
        found["brake"] = _event(plan.cluster, plan.brake, Level.WARNING)
    for pending in plan.pending:
        text = f"{pending.count} of version {pending.task_version} can't be placed: {pending.reason}"
        found[f"pending {pending.service}"] = _event(f"{plan.cluster}/{pending.service}", text, Level.WARNING)
    for number, note in enumerate(plan.notes):
        found[f"note {note.service} {number}"] = _event(
            f"{plan.cluster}/{note.service}", note.reason, Level.DEBUG if note.is_ordinary else Level.INFO
        )
    now = {key: f"{event.subject}: {re.sub(r'[0-9.]+', '#', event.message)}" for key, event in found.items()}
    before = set(said.values())
    return [event for key, event in found.items() if now[key] not in before], now


def _event(subject: str, message: str, level: Level) -> Event:
    return Event(loop=LOOP, subject=subject, message=message, level=level)
