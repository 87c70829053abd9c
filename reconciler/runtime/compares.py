"""The metrics of a source: when it was last compared with the store. Declared by ``sync``; a standby has none.

``reconciler_last_success_timestamp_seconds`` counts a standby's passes too, so it can't say that nobody works.
"""

from prometheus_client import Gauge

LAST_COMPARE = Gauge(
    "reconciler_sync_last_compare_timestamp_seconds",
    "When the source was last read and compared with the store, by the process that works on it",
    ["source"],
)
REVISION = Gauge(
    "reconciler_sync_revision_info", "1 for the revision of the source that is applied", ["source", "revision"]
)
OBJECTS = Gauge("reconciler_sync_objects", "How many objects the source has in the store", ["source"])
PROBLEMS = Gauge(
    "reconciler_sync_problems",
    "How many problems keep the newest revision of the source from being applied",
    ["source"],
)
SUSPENDED = Gauge("reconciler_sync_suspended", "Whether an operator has suspended the source", ["source"])


class Compares:
    """Keeps the metrics of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._revision = ""

    def applied(self, revision: str, objects: int) -> None:
        """This revision is what is there now."""
        if self._revision != revision:
            REVISION.remove_by_labels({"source": self._source})
        self._revision = revision
        REVISION.labels(self._source, revision).set(1)
        OBJECTS.labels(self._source).set(objects)

    def refused(self, problems: int) -> None:
        """So many problems keep the newest revision away; 0: none."""
        PROBLEMS.labels(self._source).set(problems)

    def succeeded(self) -> None:
        """The source was read, and the store is as it was found right to be."""
        LAST_COMPARE.labels(self._source).set_to_current_time()
        SUSPENDED.labels(self._source).set(0)

    def suspended(self) -> None:
        """Nothing is compared, on purpose."""
        SUSPENDED.labels(self._source).set(1)

    def forget(self) -> None:
        """Another process works on it, and says when."""
        for metric in (LAST_COMPARE, SUSPENDED, REVISION, OBJECTS, PROBLEMS):
            metric.remove_by_labels({"source": self._source})
