"""Watches the services of a revision that is on trial, for one process; ``gate`` decides what its looks come to.

Nothing here must survive: whoever goes on with the trial begins from what is stored.
"""

from collections.abc import Callable

import msgspec

from reconciler.model.source_state import SourceState, Trial
from reconciler.runtime.clock import Clock
from reconciler.sync.gate import Gate, Look, Pair, Watch, looked, reason_of, watched


class Trials:
    """What ``passes`` knows of the trial of what is applied; without a gate, nothing."""

    def __init__(self, gate: Gate | None, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._watch: Watch | None = None
        self._pairs: frozenset[Pair] = frozenset()

    @property
    def limit_s(self) -> float | None:
        """How long a new revision has; None: it is not tried."""
        return self._gate.limit_s if self._gate else None

    @property
    def is_on(self) -> bool:
        """Whether there is something to look at."""
        return self._watch is not None

    @property
    def waiting(self) -> tuple[str, ...]:
        """What was not healthy when somebody looked last."""
        return self._watch.look.waiting if self._watch else ()

    def look(self) -> bool:
        """Look at the services; whether there is something to decide or to store.

        Raises StoreError when nobody can look now.
        """
        if self._watch is None or self._gate is None:
            return False
        look = self._gate.judge(self._pairs) if self._pairs else Look()
        self._watch = looked(self._watch, look, self._clock.monotonic())
        return self.standing(self._watch.trial) != self._watch.trial

    def standing(self, trial: Trial | None) -> Trial | None:
        """A trial as it should be stored now; None once it has passed."""
        watch = self._watch
        if trial is None or watch is None or watch.trial.revision != trial.revision:
            return trial
        if watch.has_passed:
            return None
        # the first reasons stay: later ones change with every look
        failed = (trial.failed or (reason_of(watch.reasons),)) if watch.reasons else ()
        return msgspec.structs.replace(watch.now, failed=failed)

    def failing(self, own: SourceState | None) -> Watch | None:
        """What was seen of the revision that is applied, if that fails its trial."""
        watch = self._watch
        if own is None or own.trial is None or watch is None or not own.mark.settled:
            return None
        return watch if watch.trial.revision == own.trial.revision and watch.reasons else None

    def follow(self, trial: Trial | None, pairs: Callable[[Trial], frozenset[Pair] | None]) -> None:
        """Watch what is on trial from now on; ``pairs`` says which services (None: that can't be said now)."""
        if trial is None or self._gate is None:
            self._watch = None
            return
        watch = self._watch
        if watch is not None and (watch.trial.revision, watch.trial.good) == (trial.revision, trial.good):
            self._watch = msgspec.structs.replace(watch, trial=trial)
            return
        found = pairs(trial)
        self._pairs = found or frozenset()
        self._watch = None if found is None else watched(trial, self._clock.monotonic())

    def forget(self) -> None:
        """Begin anew from what is stored: somebody else may have gone on, or nothing is to be done now."""
        self._watch = None
