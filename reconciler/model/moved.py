"""Which source moved last: one key that is compared in the stead of every source's mark.

A transaction of Consul has room for 64 operations, and there may be more sources. A source moves when its objects are
written, or when it begins or ends to be applied: sync then writes ``config/.moved`` in the same transaction. Schedulers
compare it, and sync itself before it deletes for good.
"""

from collections.abc import Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.source_state import SourceState


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """``config/.moved``: the source that moved last.

    ``id`` is another each time, also when a source was removed and begins anew: the same value would move no index.
    """

    source: str
    id: str


def to_compare(marks: Mapping[str, int], sources: Mapping[str, SourceState], moved: int) -> dict[str, int]:
    """The keys that prove that no source has moved since they were read, with the indexes that they had.

    ``marks`` are the indexes of all marks by key, ``sources`` those that could be read, ``moved`` that of
    ``config/.moved`` (0: there is none). A mark whose writer did not know that key is compared itself.
    """
    if not moved:
        return dict(marks)
    told = {keys.source(name) for name, source in sources.items() if source.mark.told}
    return {keys.MOVED: moved} | {key: index for key, index in marks.items() if key not in told}
