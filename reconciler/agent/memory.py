"""What this host was last told to run, kept in the runtime folder: for an agent that starts while the store is away.

It serves to keep alive what runs here already, and nothing else (decision 30). ``loop`` notes it, ``wiring`` reads it.
"""

import hashlib
import logging
import os
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

_AWAY: Final = "the store has not answered since this agent started"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that were kept alive, and their definitions by digest. ``boot`` tells a restart of the machine."""

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
        self._noted: tuple[Task, ...] | None = None
        self.recalled: IssuedView | None = None
        """What this agent begins with, if the store is away."""

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
    ) -> None:
        """Keep what is to be kept alive; writes only when that is another than before."""
        tasks = tuple(
            life.record
            for _, life in sorted(lives.items())
            if life.record is not None
            and life.phase in MAY_TRY_AGAIN
            and isinstance(definitions.get(life.record.digest), TaskDefinition)
        )
        if tasks == self._noted:
            return
        self._noted = tasks
        used = {digest: each for task in tasks
                if isinstance(each := definitions[digest := task.digest], TaskDefinition)}  # fmt: skip
        kept = Remembered(store_id=store_id, boot=boot_id(), tasks=tasks, definitions=used)
        try:
            part = self._path.with_suffix(".part")
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123 - opened above with its mode
                file.write(msgspec.json.encode(kept))
            part.replace(self._path)
        except OSError as error:
            log.warning("what is issued can't be kept for an agent that starts without the store: %s", error)
