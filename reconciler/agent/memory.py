"""What this host was last told to run, kept in the runtime folder: for an agent that starts while the store is away.

It serves to keep alive what runs here already (decision 30), and to stop what was taken back as its definition says.
``loop`` notes it, ``wiring`` reads it.
"""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.agent.host_view import IssuedView, Unusable
from reconciler.agent.lifecycle import MAY_TRY_AGAIN, Life, TaskKey
from reconciler.agent.settings import AgentSettings
from reconciler.executors.task_folder import boot_id
from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Task

log = logging.getLogger(__name__)

WRITE_AGAIN_S: Final = 5.0
"""How soon to try again what could not be written."""
_AWAY: Final = "the store has not answered since this agent started"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that were kept alive, and all definitions in use by digest. ``boot`` tells a restart of the machine."""

    store_id: str
    boot: str
    tasks: tuple[Task, ...]
    definitions: dict[str, TaskDefinition]

    def view(self) -> IssuedView:
        """What can be known of what is issued, while the store is away."""
        tasks = {task.id: task for task in self.tasks}
        return IssuedView(tasks=tasks, definitions=self.definitions, problem=_AWAY, remembered=True)


class Memory:
    """One file, for one host name on one store."""

    def __init__(self, settings: AgentSettings, store_url: str) -> None:
        which = hashlib.sha256(store_url.encode()).hexdigest()[:8]
        self._path = settings.runtime_dir / f"agent-{settings.host}-{which}.issued"
        self._lock = threading.Lock()
        self._noted: Remembered | None = None
        self._noted_from: tuple[Mapping[TaskKey, Life], Mapping[str, TaskDefinition | Unusable]] = {}, {}
        self._written: Remembered | None = None
        self._trouble = ""
        self.recalled: IssuedView | None = None
        """What this agent begins with, if the store is away."""
        self.definitions: Mapping[str, TaskDefinition] = {}
        """What this agent knows of tasks that may have been taken back while there was none."""

    def read(self) -> Remembered | None:
        """What an agent last noted since this machine was started; None if there is nothing to be relied on."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what was last issued can't be read from %s: %s", self._path, error)
            return None
        return kept if kept.boot == boot_id() else None

    def note(
        self, store_id: str, lives: Mapping[TaskKey, Life], definitions: Mapping[str, TaskDefinition | Unusable]
    ) -> bool:
        """Say what is to be kept; ``write`` does it. False: that is as it was."""
        if self._noted is not None and (lives, definitions) == self._noted_from:
            return False
        self._noted_from = lives, definitions
        records = [(life, life.record) for _, life in sorted(lives.items()) if life.record is not None]
        used = {
            record.digest: definition
            for _, record in records
            if isinstance(definition := definitions.get(record.digest), TaskDefinition)
        }
        tasks = tuple(record for life, record in records if life.phase in MAY_TRY_AGAIN and record.digest in used)
        noted = self._noted
        # definitions that nothing uses any more do no harm until there is something else to write
        if noted is not None and noted.tasks == tasks and used.items() <= noted.definitions.items():
            return False
        self._noted = Remembered(store_id=store_id, boot=boot_id(), tasks=tasks, definitions=used)
        return True

    def write(self) -> float | None:
        """Keep what was noted last; returns in how many seconds to try again what could not be kept. Any thread.

        Then there is no file: none is better than one that may start again what was stopped.
        """
        with self._lock:
            noted = self._noted
            if noted is None or noted is self._written:
                return None
            part = self._path.with_suffix(".part")
            try:
                fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(fd, "wb") as file:
                    file.write(msgspec.json.encode(noted))
                part.replace(self._path)
            except OSError as error:
                for path in (self._path, part):
                    with contextlib.suppress(OSError):
                        path.unlink()
                self._tell(f"what is issued can't be kept for an agent that starts without the store: {error}")
                return WRITE_AGAIN_S
            self._written, self._trouble = noted, ""
            return None

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble
