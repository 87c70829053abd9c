"""Begins one attempt of a bash task: its folder, secrets, scripts and artifact, then its first process.

``bash`` calls it, and waits then for the task's setup. What could not be begun is noted in the folder, so that it is
seen as ended; what was cancelled leaves nothing to be seen.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.errors import ExecutorError
from reconciler.executors import naming, task_scripts
from reconciler.executors.artifacts import Artifacts
from reconciler.executors.commands import base_environment, require_way
from reconciler.executors.control_groups import ControlGroups
from reconciler.executors.folders import open_folder
from reconciler.executors.interface import Spec, StartCancelled
from reconciler.executors.naming import Marks
from reconciler.executors.processes import Process
from reconciler.executors.secret_files import SecretFiles, environment
from reconciler.executors.shim import spawn, written
from reconciler.executors.task_folder import TaskFolder
from reconciler.executors.users import User, user_of
from reconciler.model.manifests import BashContainer


class Launcher:
    """``runtime`` is where the executor keeps its own files."""

    def __init__(self, runtime: Path, artifacts: Artifacts, secrets: SecretFiles, groups: ControlGroups) -> None:
        self._runtime = runtime
        self._artifacts = artifacts
        self._secrets = secrets
        self._groups = groups

    def launch(
        self, spec: Spec, folder: TaskFolder, marks: Marks, now: float, is_cancelled: Callable[[], bool]
    ) -> Process:
        """Start the first process of an attempt of which nothing runs yet. ``now`` is wall time.

        Raises:
            ExecutorError: it can't be begun.
            StartCancelled: ``is_cancelled`` said so.
            OSError: the disk would not have it.
        """
        container = bash_container(spec)
        user = user_of(container.executor.user)
        folder.begin(marks, now, has_user=user is not None)
        try:
            if user is not None:
                require_way(user, folder.path)
            secrets = self._secrets.write(folder.path.name, spec.values.files, user)
            variables = {**environment(spec, secrets), **naming.to_environment(marks)}
            return self._spawn(spec, folder, user, variables, is_cancelled)
        except StartCancelled:
            folder.withdraw()
            self._secrets.remove(folder.path.name)
            raise
        except ExecutorError as error:
            folder.note_failure(error.message)
            raise

    def _spawn(
        self,
        spec: Spec,
        folder: TaskFolder,
        user: User | None,
        variables: Mapping[str, str],
        is_cancelled: Callable[[], bool],
    ) -> Process:
        container = bash_container(spec)
        task_scripts.write(folder, container)
        cwd = task_scripts.working_folder(folder, container)
        os.close(open_folder(cwd))
        if container.executor.artifact:
            self._artifacts.place(container.executor.artifact, cwd, container.executor.sha256, is_cancelled)
        if user is not None:
            folder.hand_over(user)
            variables = {**user.variables, **variables}
        self._groups.remove(folder.path.name)
        groups = self._groups.make(folder.path.name, spec.memory, spec.cpu_units)
        argv = [*map(str, (written(self._runtime), folder.own, cwd)), "bash", "-e", str(folder.script)]
        variables = {**base_environment(), **variables}
        return spawn(argv, variables, folder.output, user=user, admit=lambda pid: self._groups.join(groups, pid))


def bash_container(spec: Spec) -> BashContainer:
    """What is to be started. Raises ExecutorError when it is of another type."""
    if not isinstance(spec.container, BashContainer):
        raise ExecutorError(f"{spec.container.name} is of type {spec.container.type}, not bash", permanent=True)
    return spec.container
