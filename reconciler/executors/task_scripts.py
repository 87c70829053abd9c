"""The scripts of a bash task: written and looked at before anything runs, and the stop commands run at its end.

``bash`` calls it. Where a task runs as a user of its own, so do its stop commands.
"""

import logging
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors import naming
from reconciler.executors.commands import base_environment, run
from reconciler.executors.processes import Process, environment_of, folder_of
from reconciler.executors.task_folder import TaskFolder
from reconciler.model.manifests import BashContainer

log = logging.getLogger(__name__)

_SYNTAX_S: Final = 30.0


def working_folder(folder: TaskFolder, container: BashContainer) -> Path:
    """Where the commands run. Raises ExecutorError when that leads out of the task's folder."""
    wanted = PurePosixPath(container.executor.download_dir)
    if not wanted.is_absolute() and ".." in wanted.parts:
        raise ExecutorError(f"download_dir {wanted} leads out of the task's folder", permanent=True)
    return folder.work / wanted


def write(folder: TaskFolder, container: BashContainer) -> None:
    """Write the scripts, if they are valid bash.

    Setup is looked at by itself too: an open quote in it must not swallow what follows.

    Raises:
        ExecutorError: they are not; permanent.
        OSError: the disk would not have them.
    """
    folder.write_scripts(container.setup, (), ())
    if container.setup:
        _check_syntax(folder, f"setup of {container.name}")
    folder.write_scripts(container.setup, container.executor.start, container.executor.stop)
    _check_syntax(folder, f"start of {container.name}")


def run_stop(folder: TaskFolder, process: Process, timeout_s: float) -> None:
    """Run the stop commands beside ``process``; whatever comes of them, what still runs is ended after them."""
    environment = {**(environment_of(process) or base_environment()), naming.ROLE: "stop"}
    argv = ["bash", "-e", str(folder.stop_script)]
    cwd = folder_of(process) or folder.path
    try:
        ended = run(argv, environment=environment, timeout_s=timeout_s, cwd=cwd, user=folder.user())
        with folder.output.open("ab") as output:
            output.write(ended.output)
    except (ExecutorError, OSError) as error:
        log.warning("stop commands of %s: %s", folder.path.name, error)
        return
    if ended.exit_code != 0:
        how = "did not end in time" if ended.exit_code is None else f"ended with exit code {ended.exit_code}"
        log.warning("stop commands of %s %s; what they wrote is in the task's own log", folder.path.name, how)


def _check_syntax(folder: TaskFolder, what: str) -> None:
    environment = base_environment()
    checked = run(["bash", "-n", str(folder.script)], environment=environment, timeout_s=_SYNTAX_S)
    if checked.exit_code != 0:
        text = checked.text.replace(f"{folder.script}: ", "")
        raise ExecutorError(f"{what} is not valid bash: {text}", permanent=True)
