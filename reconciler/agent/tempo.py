"""When a task is restarted, and how long its steps may take: as its definition says, else as this host does. Pure."""

import msgspec

from reconciler.agent.settings import AgentSettings, RestartPolicy
from reconciler.model.durations import parse_duration
from reconciler.model.manifests import Restart, TaskDefinition


class Tempo(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one task. ``restart_after_s``: how long it may be critical before it is restarted; None: ever."""

    restart: RestartPolicy
    restart_after_s: float | None = None
    start_deadline_s: float
    drain_delay_s: float
    stop_timeout_s: float


def tempo_of(definition: TaskDefinition | None, settings: AgentSettings) -> Tempo:
    """The tempo of a task; of one whose definition is not known, that of this host."""
    if definition is None:
        return Tempo(
            restart=settings.restart,
            start_deadline_s=settings.start_deadline_s,
            drain_delay_s=settings.drain_delay_s,
            stop_timeout_s=settings.stop_timeout_s,
        )
    return Tempo(
        restart=_restart(definition.restart, settings.restart),
        restart_after_s=parse_duration(definition.restart_after) if definition.restart_after else None,
        start_deadline_s=_seconds(definition.start_deadline, settings.start_deadline_s),
        drain_delay_s=_seconds(definition.drain_delay, settings.drain_delay_s),
        stop_timeout_s=_seconds(definition.stop_timeout, settings.stop_timeout_s),
    )


def _restart(said: Restart | None, usual: RestartPolicy) -> RestartPolicy:
    if said is None:
        return usual
    if said.delay is not None:
        first_s = parse_duration(said.delay)
        usual = msgspec.structs.replace(usual, first_delay_s=first_s, delay_s=first_s * usual.factor)
    return msgspec.structs.replace(
        usual,
        max_attempts=said.max_attempts or usual.max_attempts,
        window_s=_seconds(said.window, usual.window_s),
        most_delay_s=_seconds(said.max_delay, usual.most_delay_s),
    )


def _seconds(text: str | None, otherwise: float) -> float:
    return otherwise if text is None else parse_duration(text)
