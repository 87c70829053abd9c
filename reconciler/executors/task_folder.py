"""What the bash executor keeps of a task on disk: its scripts, its output, and how it ended.

None of it is needed to find what runs (``processes`` does that); it tells of what runs no more. There is no secret in
it: the environment is only in the processes.
"""

import contextlib
import os
import shlex
import shutil
import signal
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reconciler.executors.folders import make_passable
from reconciler.executors.interface import Observed
from reconciler.executors.naming import Marks
from reconciler.executors.task_log import end_line, older, written_since
from reconciler.executors.users import User, user_with_id

_LAST_WORDS: Final = 20
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Attempt(msgspec.Struct, frozen=True):
    """``attempt.json``: what was last started here, and when (wall time); ``boot`` tells a restart of the machine.

    ``output_from`` is where in the output its own begins.
    """

    marks: Marks
    started_at: float
    boot: str
    output_from: int = 0


class TaskFolder:
    """One container of one task. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = path / "own"
        """What a task that runs as another user than the agent may read and write, beside ``work``."""
        self.output = path / "output.log"
        self.work = path / "work"
        self._attempt = path / "attempt.json"
        self._failure = path / "failure"

    @property
    def script(self) -> Path:
        """Setup and start."""
        return self.own / "script"

    @property
    def stop_script(self) -> Path:
        """The stop commands; there is none without any."""
        return self.own / "stop"

    @property
    def _set_up(self) -> Path:
        return self.own / "set-up"

    @property
    def own(self) -> Path:
        """Where its scripts are, and where its own processes leave word; those are not to be believed all."""
        return self._own if self._own.is_dir() else self.path

    @property
    def _exit(self) -> Path:
        return self.own / "exit"

    def begin(self, marks: Marks, now: float, *, has_user: bool = False) -> None:
        """Clear away the attempt before (its output stays) and note this one.

        ``has_user``: another user than the agent's will run it, see ``hand_over``. All else stays the agent's, which
        must never be led elsewhere by a link that a task has made.
        """
        make_passable(self.path.parents[1], self.path.parent)
        self.path.mkdir(mode=0o700, exist_ok=True)
        for left in self.path.iterdir():
            if left not in (self.output, older(self.output), self._attempt):
                _delete(left)
        self.path.chmod(0o711 if has_user else 0o700)
        self.work.mkdir()
        if has_user:
            self._own.mkdir(mode=0o700)
        _write(self._attempt, msgspec.json.encode(Attempt(marks, now, boot_id(), end_line(self.output))))

    def write_scripts(self, setup: Sequence[str], start: Sequence[str], stop: Sequence[str]) -> None:
        """Setup and start are one script, so that what setup changes (directory, variables) holds for start."""
        mark = f": >{shlex.quote(str(self._set_up))}"
        _write(self.script, "\n".join([*setup, mark, *start, ""]).encode())
        if stop:
            _write(self.stop_script, "\n".join([*stop, ""]).encode())

    def hand_over(self, user: User) -> None:
        """Give ``user`` what it may write to; nothing of it runs yet.

        What is in a folder goes before the folder itself: another process of that user must not be able to put
        something else in its place before it was given away.
        """
        self.output.touch(mode=0o600)
        for top in (self.work, self._own):
            for folder, folders, files in os.walk(top, topdown=False):
                for name in (*folders, *files, "."):
                    os.chown(Path(folder, name), user.uid, user.gid, follow_symlinks=False)
        os.chown(self.output, user.uid, user.gid)

    def user(self) -> User | None:
        """As whom it runs, if not as the agent does."""
        try:
            return user_with_id(self._own.stat().st_uid)
        except FileNotFoundError:
            return None

    def attempt(self) -> Attempt | None:
        """What was last started here; None if nothing readable says so."""
        try:
            return msgspec.json.decode(self._attempt.read_bytes(), type=Attempt)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def last_words(self) -> str:
        """The last lines that this attempt wrote: those of an earlier one may hold secrets that nobody knows by now."""
        attempt = self.attempt()
        words = written_since(self.output, attempt.output_from, _LAST_WORDS) if attempt else b""
        return words.decode(errors="replace").strip()

    @property
    def set_up(self) -> bool:
        """Whether setup is over, and start has begun."""
        return self._set_up.exists()

    def exit_code(self) -> int | None:
        """What the script ended with; None if it has not, or nobody was left to write it down."""
        try:
            # whoever runs as the task's user may have put anything there: a link, a pipe that nobody writes to
            fd = os.open(self._exit, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:  # noqa: PTH123 - opened above, so that no link is followed
                code = int(file.read(8)) if stat.S_ISREG(os.fstat(fd).st_mode) else -1
        except (OSError, ValueError):
            return None
        return code if 0 <= code <= 255 else None

    def note_failure(self, why: str) -> None:
        """Say why nothing was started."""
        _write(self._failure, why.encode())

    def withdraw(self) -> None:
        """Have no attempt here: nothing of it has run, and nobody wants it."""
        self._attempt.unlink(missing_ok=True)

    def ended(self, attempt: Attempt, boot: str) -> Observed:
        """What became of an attempt of which nothing runs any more; ``boot`` is the machine's ``boot_id`` now."""
        exit_code = self.exit_code()
        return Observed(
            ref=attempt.marks.ref,
            owner=attempt.marks.owner,
            digest=attempt.marks.digest,
            attempt=attempt.marks.attempt,
            fingerprint=attempt.marks.values,
            running=False,
            exit_code=exit_code,
            started_at=attempt.started_at,
            ended_at=self._ended_at(attempt),
            reason=self._why(attempt, boot, exit_code),
        )

    def _ended_at(self, attempt: Attempt) -> float:
        """When the script ended, or when it last wrote something if nobody was left to note that."""
        for path in (self._exit, self.output):
            with contextlib.suppress(FileNotFoundError):
                return path.lstat().st_mtime
        return attempt.started_at

    @property
    def is_cut(self) -> bool:
        """Whether its start was cut off or cancelled before anything could run: nobody will ever find it again."""
        return not self._attempt.exists()

    def _why(self, attempt: Attempt, boot: str, exit_code: int | None) -> str:
        if exit_code is None:
            with contextlib.suppress(FileNotFoundError):
                return self._failure.read_text(encoding="utf-8", errors="replace")
            if attempt.boot != boot:
                return "the host was restarted"
            return "killed; its exit code is not known" if self.set_up else "its start was cut off"
        if not self.set_up:
            return f"setup ended with exit code {exit_code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(exit_code - 128).name}"
        return f"ended with exit code {exit_code}"

    def remove(self) -> None:
        """Delete all of it."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)


def folders_in(path: Path) -> Iterator[TaskFolder]:
    """All folders of tasks there."""
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(path.iterdir()):
            yield TaskFolder(entry)


def boot_id() -> str:
    """Changes whenever the machine is started."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - opened above with its mode
        file.write(content)
    part.replace(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
