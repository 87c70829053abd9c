"""A revision that deletes much stops until somebody says that exactly this is meant. Pure; called by ``passes``.

What was begun or applied already is not asked about again: only a new revision is.
"""

from typing import Final

import msgspec

from reconciler.model import keys
from reconciler.sync.config_view import View, label
from reconciler.sync.plan import Goal, Plan, is_accepted
from reconciler.sync.plan_hash import plan_hash

_SHOWN: Final = 3


class DeletionLimit(msgspec.Struct, frozen=True):
    """How many objects one revision may delete: ``count``, or ``share`` of the source's objects if that is more.

    Task definitions don't count: they go late, and only when nothing needs them.
    """

    count: int = 10
    share: float = 0.3

    def most(self, objects: int) -> int:
        """How many of so many."""
        return max(self.count, int(self.share * objects))


DEFAULT: Final = DeletionLimit()


def parse(text: str) -> DeletionLimit:
    """``25`` or ``10%``. Raises ValueError."""
    number, percent, rest = text.partition("%")
    if not number.isdecimal() or rest or (percent and int(number) > 100):
        raise ValueError(f"{text!r} is neither a number nor a share such as 10%")
    return DeletionLimit(0, int(number) / 100) if percent else DeletionLimit(int(number), 0.0)


def braked(made: Plan, view: View, goal: Goal, limit: DeletionLimit | None, approved: str) -> Plan:
    """The plan; with one problem more if it deletes too much and ``approved`` is not its hash."""
    if limit is None or made.problems or is_accepted(view, goal):
        return made
    objects = sum(not key.startswith(keys.TASK_DEFINITIONS) for key in view.mine())
    deletes = made.deletes
    if len(deletes) <= limit.most(objects):
        return made
    found = plan_hash(view, goal.revision, made.changes)
    if found == approved:
        return made
    some = ", ".join(label(each.key) for each in deletes[:_SHOWN]) + (", …" if len(deletes) > _SHOWN else "")
    problem = (
        f"the revision would delete {len(deletes)} of {objects} objects ({some}), "
        f"and at most {limit.most(objects)} may go at once; if that is meant: reconciler approve {view.source} {found}"
    )
    return msgspec.structs.replace(made, problems=(problem,))
