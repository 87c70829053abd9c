"""What tasks that are gone have left: containers that have ended, kept a while so that their output can be read. Pure.

``plan`` leaves them out of all that it decides: they hold no port, no memory and no name. ``sweep`` removes them later.
"""

from collections.abc import Collection, Mapping

from reconciler.agent.host_view import HostView, Seen
from reconciler.agent.lifecycle import Life, TaskKey
from reconciler.executors.interface import Keep
from reconciler.model.task import Health, Phase


def is_worth_keeping(life: Life) -> bool:
    """Whether people may want to read what a task wrote after it is gone: it ended by itself, or it was not well."""
    return (
        life.phase in (Phase.FAILED, Phase.COMPLETE)
        or (life.phase is Phase.PENDING and bool(life.failures))
        or life.health is Health.CRITICAL
    )


def remains(
    view: HostView,
    wanted: Collection[TaskKey],
    lives: Mapping[TaskKey, Life],
    seen: Mapping[TaskKey, list[Seen]],
) -> dict[TaskKey, list[Seen]]:
    """Of ``seen`` what has ended, and belongs to no task that is issued or being stopped.

    A part of the task may run where nobody can look now. Then it counts only if nobody relies on it being listed.
    """
    if view.ending or not view.settings.keep.ended_s:
        return {}
    is_blind = any(executor.problem is not None for executor in view.executors.values())
    return {
        key: found
        for key, found in seen.items()
        if key not in wanted
        and key not in lives
        and not any(each.container.running for each in found)
        and not (is_blind and _is_listed(view, key))
    }


def _is_listed(view: HostView, key: TaskKey) -> bool:
    if view.published is None:
        return True
    listed = view.published.tasks.get(key.id)
    return listed is not None and listed.issue == key.issue


def due(left: Mapping[TaskKey, list[Seen]], wall: float, keep: Keep) -> list[Seen]:
    """What of it is to be removed at ``wall`` (now): what ended too long ago, and the oldest of too many tasks."""
    ended = {key: max(each.container.ended_at for each in found) for key, found in left.items()}
    newest = sorted(ended, key=lambda key: (-ended[key], key))
    gone = {*newest[keep.ended :], *(key for key, at in ended.items() if wall - at > keep.ended_s)}
    return [each for key in newest if key in gone for each in left[key]]
