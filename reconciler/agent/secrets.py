"""Reads on this host the values that manifests only name, gives them to containers, and notices when they change.

``loop`` looks at them in a loop of its own, ``apply`` asks for those of a container right before its start. No value
leaves this file but into a ``Values``; what is remembered of one elsewhere is a fingerprint, made with a key that
never leaves the host, so that nobody can guess a value from it.
"""

import hashlib
import hmac
import logging
import os
import stat
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from reconciler.agent.outdated import ABSENT, SecretsView, fingerprint, wanted_by
from reconciler.agent.settings import AgentSettings
from reconciler.errors import ExecutorError, StoreDenied, StoreError
from reconciler.executors.interface import Values
from reconciler.model import keys
from reconciler.model.manifests import Container
from reconciler.model.secrets import EnvFrom, Place, Wanted
from reconciler.runtime.clock import Clock
from reconciler.store.interface import Entry, Store

log = logging.getLogger(__name__)

VARIABLE_PREFIX: Final = "RECONCILER_SECRET_"
LOOK_S: Final = 30.0
"""How often files are looked at, and the store whatever its watch says."""
MOST_BYTES: Final = 256 * 1024
MOST_VARIABLE_BYTES: Final = 100_000
"""Linux takes 128 KiB for one variable with its name."""
_KEY_BYTES: Final = 32
_KEY_FILE: Final = "fingerprint-key"
_HIDDEN: Final = "[hidden]"
_LEAST_HIDDEN: Final = 4
_LEAST_LINE_HIDDEN: Final = 8
"""Shorter values, and shorter lines of them, are not looked for in messages: they would be found everywhere."""


class SecretsAway(ExecutorError):
    """Nobody can say now what a value is: the store is away. It is no fault of the task."""


Found: TypeAlias = dict[Place, bytes | ExecutorError | None]
"""What was read of each place: None where there is certainly nothing, or why nobody can say."""


class Secrets:
    """The values of this host. Thread-safe: a look and starts may go on at the same time."""

    def __init__(self, store: Store, settings: AgentSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._key = b""
        self._known: dict[Place, bytes | None] = {}
        self._in_store = threading.Event()
        self._watched = 0
        self.wanted: frozenset[Wanted] = frozenset()
        self.view = SecretsView()

    def want(self, wanted: frozenset[Wanted]) -> bool:
        """Look at what the tasks of this host are started with, and at nothing else. False: that is as it was."""
        if wanted == self.wanted:
            return False
        self.wanted = wanted
        if any(each.kv is not None for each in wanted):
            self._in_store.set()
        else:
            self._in_store.clear()
        return True

    def look(self) -> float:
        """Read all that is wanted anew; returns when to do so again, in seconds."""
        wanted, began = self.wanted, self._clock.monotonic()
        if not wanted:
            self.view = SecretsView()
            return LOOK_S
        found = self._read({each.place for each in wanted})
        readings: dict[Place, str] = {}
        problems: set[str] = set()
        for each in wanted:
            value = found[each.place]
            if isinstance(value, ExecutorError):
                problems.add(f"{each.label}: {value.message}")
            else:
                readings[each.place] = self._mark(each.place, value)
                if value is None and not each.optional:
                    problems.add(self._missing(each).message)
        for text in sorted(problems - set(self.view.problems)):
            log.warning("%s; what runs with it goes on", text)
        self.view = SecretsView(began=began, key=self._key_name, readings=readings, problems=tuple(sorted(problems)))
        with self._lock:
            self._known = {place: value for place, value in self._known.items() if place in readings}
        return LOOK_S

    def wait(self, timeout_s: float) -> bool:
        """Block until something in the store may have changed; the store is not asked where nothing of it is wanted."""
        if not self._in_store.wait(timeout_s):
            return False
        before = self._watched
        self._watched = self._store.wait(keys.SECRETS, before, timeout_s)
        return self._watched != before

    def values(self, container: Container) -> Values:
        """What a container is to be started with now.

        Raises:
            SecretsAway: the store does not answer, and this agent has not read it before.
            ExecutorError: a value is missing, may not be read, or can't be used; says where it should be.
        """
        entries = wanted_by(container)
        if not entries:
            return Values()
        found = self._read({each.place for each in entries})
        environment: dict[str, str] = {}
        files: dict[str, bytes] = {}
        marks = []
        for each in entries:
            value = found[each.place]
            if isinstance(value, ExecutorError):
                raise type(value)(f"{each.label}: {value.message}", hint=value.hint)
            if value is None and not each.optional:
                raise self._missing(each)
            marks.append(self._mark(each.place, value))
            if value is not None and isinstance(each, EnvFrom):
                environment[each.name] = _variable(each, value)
            elif value is not None:
                files[each.name] = value
        return Values(environment=environment, files=files, fingerprint=fingerprint(self._key_name, marks))

    def _missing(self, wanted: Wanted) -> ExecutorError:
        return ExecutorError(
            f"{wanted.label}: there is no {self._where(wanted.place)}", hint="put it there, or say optional: true"
        )

    def _read(self, wanted: Collection[Place]) -> Found:
        """All of them; while the store is away, what it last said."""
        found: Found = {}
        in_store = self._read_store(sorted(place for place in wanted if place.kind == "kv"))
        for place in sorted(wanted):
            try:
                found[place] = in_store(place) if place.kind == "kv" else self._read_here(place)
            except StoreDenied as error:
                found[place] = ExecutorError(f"the agent may not read it: {error.message}", hint=error.hint)
            except StoreError as error:
                away = SecretsAway(f"{self._where(place)} can't be read now: {error.message}")
                with self._lock:
                    found[place] = self._known.get(place, away)
            except OSError as error:
                found[place] = ExecutorError(f"{self._where(place)} can't be read: {error.strerror or error}")
            except ExecutorError as error:
                found[place] = error
        with self._lock:
            self._known |= {place: value for place, value in found.items() if not isinstance(value, ExecutorError)}
        return found

    def _read_store(self, places: Sequence[Place]) -> Callable[[Place], bytes | None]:
        """How to read one of these: all were asked for in one request, unless one of them is denied."""
        get: Callable[[str], Entry | None] = self._store.get
        if places:
            try:
                get = self._store.get_all([keys.secret(place.name) for place in places]).get
            except StoreDenied:
                pass
            except StoreError as error:
                away = error

                def get(_: str) -> Entry | None:
                    raise away

        def read(place: Place) -> bytes | None:
            entry = get(keys.secret(place.name))
            return None if entry is None else entry.value

        return read

    def _read_here(self, place: Place) -> bytes | None:
        if place.kind == "file":
            return _read_file(self._settings.secrets_dir, place.name)
        value = os.environ.get(f"{VARIABLE_PREFIX}{place.name}")
        return None if value is None else os.fsencode(value)

    def _where(self, place: Place) -> str:
        """In full, for people."""
        match place.kind:
            case "kv":
                return f"key {keys.secret(place.name)} in {self._store.url}"
            case "file":
                return f"file {self._settings.secrets_dir / place.name}"
            case _:
                return f"variable {VARIABLE_PREFIX}{place.name} in the agent's environment"

    def _mark(self, place: Place, value: bytes | None) -> str:
        """What a value is remembered by."""
        if value is None:
            return ABSENT
        message = f"{place}\0".encode() + value
        return hmac.new(self._secret_key(), message, hashlib.sha256).hexdigest()[:20]

    @property
    def _key_name(self) -> str:
        """Tells whether two fingerprints were made with one key."""
        return hashlib.sha256(b"name of " + self._secret_key()).hexdigest()[:8]

    def _secret_key(self) -> bytes:
        with self._lock:
            if not self._key:
                self._key = _key(self._settings.runtime_dir / _KEY_FILE)
            return self._key


def hidden(text: str, values: Values) -> str:
    """``text`` without any of the values or of their lines, as far as they can be told from other words.

    A line by itself, because ``text`` may be the end of something longer, and begin in the middle of a value.
    """
    wholes = [*values.environment.values(), *(content.decode(errors="replace") for content in values.files.values())]
    secrets = {whole.strip() for whole in wholes if len(whole.strip()) >= _LEAST_HIDDEN}
    lines = (line.strip() for whole in wholes for line in whole.splitlines())
    secrets |= {line for line in lines if len(line) >= _LEAST_LINE_HIDDEN}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _variable(wanted: EnvFrom, value: bytes) -> str:
    """As a shell would take it from a command: without the newline at its end."""
    raw = value.removesuffix(b"\n").removesuffix(b"\r")
    if len(raw) > MOST_VARIABLE_BYTES:
        raise ExecutorError(f"{wanted.label} is {len(raw)} bytes long, too long for a variable", hint="use secrets")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ExecutorError(f"{wanted.label} is not text, so no variable can hold it", hint="use secrets")
    return text


def _read_file(folder: Path, name: str) -> bytes | None:
    """A plain file below ``folder``, and nowhere else, whatever links there are. Raises OSError, ExecutorError."""
    path = folder / name
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise ExecutorError(f"file {path} leads out of {folder}, so it is not read")
    try:
        fd = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ExecutorError(f"file {path} is no plain file, so it is not read")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ExecutorError(f"file {path} is larger than {MOST_BYTES // 1024} KiB")
    return content


def _key(path: Path) -> bytes:
    """The host's key, made when there is none: agents that begin together take the same.

    Raises ExecutorError: it can't be read or made.
    """
    try:
        if not path.exists():
            part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(os.urandom(_KEY_BYTES))
                    file.flush()
                    os.fsync(fd)
                os.link(part, path)
            except FileExistsError:
                pass  # another agent of this machine was faster
            finally:
                part.unlink()
        found = path.read_bytes()
    except OSError as error:
        raise ExecutorError(f"the key {path} can't be read or made: {error.strerror or error}") from error
    if len(found) != _KEY_BYTES:
        raise ExecutorError(f"{path} is damaged", hint="delete it; the next agent makes another one")
    return found
