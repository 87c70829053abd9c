"""What every executor promises; ``tests/executor_contract`` holds docker and bash to it.

An executor keeps nothing that must survive it: whatever it made carries labels (docker) or markers in its environment
(bash), and ``observe`` finds it again after any crash. It never touches what does not carry its owner's mark.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from reconciler.errors import ExecutorError
from reconciler.model.manifests import Container
from reconciler.model.ports import HostPort, Publication

MOST_LOG_BYTES: Final = 4 * 1024 * 1024


class Owner(msgspec.Struct, frozen=True):
    """Who made a container: which store's agent, on which machine. Other owners' things are never touched."""

    store_id: str
    machine: str


class Ref(msgspec.Struct, frozen=True, order=True):
    """One container of one issue of a task on this host."""

    task_id: str
    issue: int
    container: str


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is given that nobody else may see: more variables, and files by name. Never logged or shown.

    ``fingerprint`` tells later whether any of it has changed, and nothing else; an executor only keeps it.
    """

    environment: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}
    fingerprint: str = ""

    def __repr__(self) -> str:
        return f"Values({', '.join(sorted([*self.environment, *self.files]))})"


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to start a container.

    ``environment`` is complete (the definition's own on top of what the agent provides), but for ``values``, which are
    there only in the moment of a start. ``port`` is the task's unnamed one on the host, 0 if it has none;
    ``publications`` are those of its named ports that lead into this container. Memory in MiB, 1024 cpu units per core,
    0: no limit. ``attempt`` counts from 1.
    """

    ref: Ref
    container: Container
    digest: str
    attempt: int
    environment: Mapping[str, str]
    address: str
    port: int = 0
    publications: tuple[Publication, ...] = ()
    memory: int = 0
    cpu_units: int = 0
    values: Values = Values()


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it is now. ``running`` False: it has ended, with ``exit_code`` if that is known.

    ``started_at`` and ``ended_at`` are wall time. ``reason`` says more about an end (killed for memory, could not
    start). ``fingerprint`` is that of the values that it was started with.
    """

    ref: Ref
    owner: Owner
    digest: str
    attempt: int
    running: bool
    exit_code: int | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    reason: str = ""
    fingerprint: str = ""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and how much of it, is kept of what nothing needs any more; seconds, bytes.

    ``ended_s``, ``ended``: containers of tasks that are gone, and how many such tasks; 0 s keeps none.
    ``downloads_s``, ``download_bytes``: artifacts that no task on the host names.
    """

    ended_s: float = 3600.0
    ended: int = 20
    downloads_s: float = 7 * 86400.0
    download_bytes: int = 10 * 1024**3


class Swept(msgspec.Struct, frozen=True):
    """What was removed: how many things, and how many bytes on disk they were."""

    count: int = 0
    size: int = 0


class ScriptResult(msgspec.Struct, frozen=True):
    """What a script check said. ``exit_code`` None: it was cut at its timeout. ``output`` is cut to 4 KiB."""

    exit_code: int | None
    output: str


class StartCancelled(ExecutorError):
    """It was not started: nobody wants it any more."""


def never() -> bool:
    """Of a start that nobody cancels."""
    return False


def unless_cancelled(is_cancelled: Callable[[], bool]) -> None:
    """Raises StartCancelled if the start that is under way is not wanted any more."""
    if is_cancelled():
        raise StartCancelled("the start was cancelled")


class Executor(Protocol):
    """Starts and stops one container at a time; called from several threads, never twice at once for one ``Ref``."""

    @property
    def name(self) -> str:
        """As containers name it in ``type``."""

    def unavailable(self) -> str | None:
        """Why nothing can be started now (no engine), or None."""

    def publisher(self, port: HostPort) -> str | None:
        """The container, anybody's, that holds a port of the host, for people; None: none of this kind, or unknown."""

    def observe(self) -> Sequence[Observed]:
        """Everything of this kind that carries our marks, of any owner, running or ended.

        Raises ExecutorError when not everything could be seen; a part is never returned as the whole.
        """

    def take_over(self, found: Sequence[Observed]) -> None:
        """Delete the secrets that an agent left that was killed, of what is not ``found`` by ``observe``.

        Only for the process that is the owner's agent, before its first start: another one's start may be under way,
        whose secrets are there before its container is. Raises ExecutorError.
        """

    def prepare(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        """Fetch what a start needs (image, artifact); does nothing if it is here.

        Raises ExecutorError; StartCancelled soon after ``is_cancelled`` says so, and what is under way is broken off.
        """

    def start(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        """Run ``setup``, then start it, and return once it has started; remains of an earlier attempt are removed.

        Files of ``spec.values`` are in the folder that ``RECONCILER_SECRETS_DIR`` names in its environment; ``stop``
        and ``remove`` delete them. Raises ExecutorError; ``permanent`` when the same spec can never start. Raises
        StartCancelled soon after ``is_cancelled`` says so, also while ``setup`` runs, which is ended.
        """

    def stop(self, ref: Ref, container: Container | None, timeout_s: float, *, strict: bool = False) -> None:
        """Ask it to end, wait up to ``timeout_s`` seconds, then kill it; returns when nothing of it runs.

        ``strict``: it gets no more time than that, even if it was started with a longer one. ``container`` is None
        when the definition is not known any more. Does nothing if it does not run.
        """

    def remove(self, ref: Ref) -> None:
        """Remove what is left of an ended one; does nothing if there is nothing."""

    def sweep(self, keep: Keep, wanted: Sequence[Container]) -> Swept:
        """Delete what this program left on the host that no container names: downloads, folders of cut starts.

        Containers themselves are for ``remove``. What the ``wanted`` ones need stays. Raises ExecutorError.
        """

    def run_script(self, ref: Ref, script: str, environment: Mapping[str, str], timeout_s: float) -> ScriptResult:
        """Run a script check inside the container (bash: beside it, in its environment)."""

    def logs(self, ref: Ref, tail_lines: int) -> bytes:
        """The last lines of what it wrote, at most the last ``MOST_LOG_BYTES`` of them."""

    def follow(self, ref: Ref, tail_lines: int) -> Iterator[bytes]:
        """The last lines, and then whatever it goes on to write, attempt after attempt, in small pieces.

        It never ends by itself: an empty piece, every second at the latest while there is nothing new, is where the
        reader may leave by closing the iterator. A slow reader holds up nobody, least of all what writes. Raises
        ExecutorError when nothing can be read to begin with.
        """

    def wait(self, timeout_s: float) -> bool:
        """Block until one of ours may have started or ended (True), or the time is over (False)."""

    def close(self) -> None:
        """Let go of connections and threads; what runs goes on running."""
