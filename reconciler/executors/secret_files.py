"""The files of secrets that containers were given: in memory where the host has a place for that, and for nobody else.

Both executors keep theirs here. A file of a process belongs to the user as whom it runs. Those of a docker container
may be read by whoever can reach them, because the program inside often is another user than root; so the folder above
them is closed to all users of the host.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors import naming
from reconciler.executors.folders import make_passable
from reconciler.executors.interface import Observed, Owner, Spec
from reconciler.executors.users import User

IN_MEMORY: Final = Path("/run/reconciler/secrets")
"""Where only root may write; the memory of the machine, on all of today's Linux."""
SECRETS_DIR: Final = "RECONCILER_SECRETS_DIR"
"""The variable that tells a program where its files are."""


class SecretFiles:
    """The files of one owner's containers of one kind, by the name of the container. Raises ExecutorError."""

    def __init__(self, folder: Path, owner: Owner, kind: str, *, inside: bool = False) -> None:
        """``folder`` may be shared with others. ``inside``: who reads them does so inside of a container."""
        self._owner = owner
        self._mode, self._file_mode = (0o700, 0o444) if inside else (0o711, 0o400)
        self._folder = folder.absolute() / naming.owner_name(owner) / kind

    def write(self, name: str, files: Mapping[str, bytes], user: User | None = None) -> Path | None:
        """Give a container exactly these files; returns their folder, None if there are none.

        ``user`` is as whom it runs, if that is another than the agent.
        """
        self.remove(name)
        if not files:
            return None
        folder = self._folder / name
        try:
            make_passable(self._folder.parents[1], self._folder.parent)
            self._folder.mkdir(exist_ok=True)
            self._folder.chmod(self._mode)
            folder.mkdir()
            for file, content in files.items():
                self._write(folder / file, content, user)
            folder.chmod(0o555)
        except OSError as error:
            self.remove(name)
            raise ExecutorError(f"cannot write the secrets of {name}: {error.strerror or error}") from error
        return folder

    def _write(self, path: Path, content: bytes, user: User | None) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
        with open(fd, "wb") as file:  # noqa: PTH123 - opened above with its mode
            file.write(content)
            os.fchmod(fd, self._file_mode)
            if user is not None:
                os.fchown(fd, user.uid, user.gid)

    def remove(self, name: str) -> None:
        """Delete a container's files; does nothing if it has none."""
        folder = self._folder / name
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.chmod(0o700)
                shutil.rmtree(folder)
        except OSError as error:
            raise ExecutorError(f"cannot delete the secrets of {name}: {error.strerror or error}") from error

    def sweep(self, here: Iterable[Observed]) -> None:
        """Delete what an agent left that was killed, of containers that are gone; not while any start is under way."""
        names = {naming.instance_name(self._owner, each.ref) for each in here if each.owner == self._owner}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for left in set(os.listdir(self._folder)) - names:  # noqa: PTH208 - names only
                self.remove(left)


def environment(spec: Spec, folder: Path | None) -> dict[str, str]:
    """All variables of a container whose files are in ``folder``, as a program on the host sees it."""
    variables = {**spec.environment, **spec.values.environment}
    return variables if folder is None else variables | {SECRETS_DIR: str(folder)}
