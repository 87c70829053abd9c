"""The one place that chooses backends and puts the parts together; the command line calls it."""

import logging
import os
import random
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import StoreNoLeader, StoreUnreachable, UsageError
from reconciler.model.events import Emit
from reconciler.runtime import log as event_log
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.ids import new_id
from reconciler.store import sentinel
from reconciler.store.connect import consul_agent
from reconciler.store.connect import open_store as connect
from reconciler.store.interface import Store

if TYPE_CHECKING:
    from reconciler.agent.loop import AgentDaemon
    from reconciler.agent.memory import Memory
    from reconciler.executors.interface import Executor, Keep, Owner
    from reconciler.health.interface import HealthProvider
    from reconciler.manifests.source import Source
    from reconciler.notify.receivers import Audience
    from reconciler.runtime.runner import Loop
    from reconciler.scheduler.loop import SchedulerDaemon
    from reconciler.sync.brake import DeletionLimit
    from reconciler.sync.gate import Gate
    from reconciler.sync.loop import SyncDaemon
    from reconciler.sync.reporter import ReporterDaemon

log = logging.getLogger(__name__)

SYSTEM_RUNTIME_DIR = Path("/var/lib/reconciler")
SYSTEM_SECRETS_DIR = Path("/etc/reconciler/secrets")


@contextmanager
def open_store(url: str | None) -> Iterator[Store]:
    """The store at ``url``, or the one that the environment names; closed at the end."""
    store = connect(url, environ=os.environ)
    try:
        yield store
    finally:
        store.close()


def embedded_store(path: Path) -> str:
    """The URL of a SQLite store in a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite://{path.resolve()}"


def ready(store: Store) -> str:
    """Wait until the store answers, mark it as ours if it is empty, and return its id.

    Raises:
        StoreNotOurs: it holds something else.
        StoreDenied: it is not marked, and this token may not mark it.
    """
    backoff, rng, failures = Backoff(first_s=0.5, most_s=5.0), random.Random(), 0  # noqa: S311 - jitter, not a secret
    while True:
        try:
            return sentinel.ensure(store, new_id())
        except (StoreUnreachable, StoreNoLeader) as error:
            failures += 1
            if failures in {1, 10} or failures % 60 == 0:
                log.warning("waiting for the store at %s: %s", store.url, error.message)
            time.sleep(backoff.delay_s(failures, rng))


def scheduler(store: Store, *, name: str = "default", emit: Emit = event_log.emit) -> "SchedulerDaemon":
    """A scheduler for the clusters that name it."""
    from reconciler.scheduler.loop import SchedulerDaemon

    ready(store)
    return SchedulerDaemon(store, scheduler_name=name, emit=emit)


def agent(
    store: Store,
    *,
    host: str | None = None,
    address: str | None = None,
    runtime_dir: Path | None = None,
    secrets_dir: Path | None = None,
    port_range: tuple[int, int] | None = None,
    executors: Sequence[str] = (),
    policy: Path | None = None,
    keep: "Keep | None" = None,
    emit: Emit | None = None,
) -> "AgentDaemon":
    """The agent of this host; what is not given is found out.

    Raises:
        UsageError: no such name for a host, or no such execution policy.
    """
    from reconciler.agent import identity
    from reconciler.agent.guard import Guard
    from reconciler.agent.loop import AgentDaemon
    from reconciler.agent.memory import Memory
    from reconciler.agent.settings import AgentSettings
    from reconciler.executors.folders import make_passable
    from reconciler.executors.interface import Keep
    from reconciler.model.manifests import PORT_RANGE
    from reconciler.model.names import is_name

    guard = Guard(policy, required=True) if policy else Guard()
    host = host or socket.gethostname()
    if not is_name(host):
        raise UsageError(f"{host!r} is no name for a host", hint="give one with --host: letters, digits, dots, dashes")
    settings = AgentSettings(
        host=host,
        address=address or identity.default_address(),
        runtime_dir=(runtime_dir or default_runtime_dir()).absolute(),
        secrets_dir=(secrets_dir or SYSTEM_SECRETS_DIR).absolute(),
        port_range=port_range or PORT_RANGE,
        keep=keep or Keep(),
    )
    if not settings.runtime_dir.exists():
        make_passable(settings.runtime_dir)  # one that an operator made stays as it is
    memory = Memory(settings, store.url)
    owner = identity.owner(settings, _store_id(store, memory))
    offered = _executors(owner, settings.runtime_dir, executors)
    health = _health(store, owner, offered)
    return AgentDaemon(
        store, settings, offered, health, owner=owner, guard=guard, memory=memory, emit=emit or event_log.emit
    )


def _store_id(store: Store, memory: "Memory") -> str:
    """The store's id. While the store is away, the one that an agent of this host noted, which is then gone on with."""
    remembered = memory.read()
    if remembered is None:
        return ready(store)
    memory.definitions = remembered.definitions
    try:
        return sentinel.ensure(store, new_id())
    except (StoreUnreachable, StoreNoLeader) as error:
        text = "the store at %s is away (%s): until it answers, what ran here is kept alive"
        log.warning(text, store.url, error.message)
        memory.recalled = remembered.view()
        return remembered.store_id


class EphemeralAgent:
    """An agent whose tasks end with it: for ``dev`` and the demo, which stop what they started."""

    def __init__(self, agent: "AgentDaemon") -> None:
        self._agent = agent
        self.ended = False
        """Whether every task had ended when ``stop`` returned."""

    @property
    def loops(self) -> "Sequence[Loop]":
        return self._agent.loops

    def start(self) -> None:
        self._agent.start()

    def stop(self) -> None:
        """Stop all tasks gracefully, and then the agent."""
        self.ended = self._agent.stop_everything()
        if not self.ended:
            log.error("some tasks did not end in time: look with `docker ps` and `ps`")


def default_runtime_dir() -> Path:
    """``/var/lib/reconciler`` for root, else the user's own state folder."""
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME_DIR
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "reconciler"


def _private_dir(runtime_dir: Path) -> Path:
    """Where the files of tasks' secrets are: in memory if this user has a place there."""
    from reconciler.executors.secret_files import IN_MEMORY

    if os.geteuid() == 0:
        return IN_MEMORY
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own) / "reconciler" / "secrets" if own and os.access(own, os.W_OK) else runtime_dir / "secrets"


def _executors(owner: "Owner", runtime_dir: Path, names: Sequence[str]) -> Mapping[str, "Executor"]:
    from reconciler.executors.bash import Bash
    from reconciler.executors.docker import Docker

    secrets = _private_dir(runtime_dir)
    made: dict[str, Executor] = {}
    if not names or "bash" in names:
        made["bash"] = Bash(owner, runtime_dir / "bash", secrets=secrets)
    if not names or "docker" in names:
        made["docker"] = Docker(owner, secrets=secrets)
    return made


def _health(store: Store, owner: "Owner", executors: Mapping[str, "Executor"]) -> "HealthProvider":
    """Consul's own checks where the store is Consul; our own everywhere else."""
    from reconciler.agent.scripts import script_runner
    from reconciler.health.consul_registry import ConsulRegistry
    from reconciler.health.native import NativeHealth

    scripts, clock = script_runner(executors), SystemClock()
    local = consul_agent(store)
    if local is None:
        return NativeHealth(scripts, clock)
    return ConsulRegistry(local, store_id=owner.store_id, machine=owner.machine, run_script=scripts, clock=clock)


def source(
    *,
    git_url: str | None = None,
    branch: str | None = None,
    tag: str | None = None,
    commit: str | None = None,
    path: str = "",
    directory: Path | None = None,
    name: str | None = None,
    cache_dir: Path | None = None,
    signers: Sequence[Path] = (),
    environment: str | None = None,
) -> "Source":
    """A git repository or a folder; exactly one of ``git_url`` and ``directory``.

    Without a ``name`` it is called like that, and in an environment like both.

    Raises:
        UsageError: the options contradict each other, or the URL is one that is never fetched.
    """
    if (git_url is None) == (directory is None):
        raise UsageError("a source is a git repository or a folder", hint="give --git URL or --watch DIR")
    ending = f"-{environment}" if environment else ""
    if directory is not None:
        from reconciler.manifests import directory_source

        if branch or tag or commit or path or signers:
            raise UsageError("--branch, --tag, --commit, --path and --verify-signatures go with --git")
        name = name or directory_source.source_name_of(directory) + ending
        return directory_source.DirectorySource(name, directory, environment=environment)
    from reconciler.manifests import git_remote
    from reconciler.manifests.git_source import GitSource

    assert git_url is not None
    remote = git_remote.git_remote(git_url, branch=branch, tag=tag, commit=commit)
    cache = cache_dir or default_cache_dir() / "git"
    name = name or git_remote.source_name_of(git_url) + ending
    return GitSource(name, remote, cache=cache, path=path, signers=signers, environment=environment)


def default_cache_dir() -> Path:
    """Where copies of repositories are kept; may be deleted at any time."""
    if os.geteuid() == 0 and not os.environ.get("XDG_CACHE_HOME"):
        return Path("/var/cache/reconciler")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler"


def sync(
    store: Store,
    source: "Source",
    *,
    poll_s: float = 30.0,
    mutable_versions: bool = False,
    heals: bool = True,
    limit: "DeletionLimit | None" = None,
    health_gate: "Gate | None" = None,
    emit: Emit = event_log.emit,
) -> "SyncDaemon":
    """Keeps the store's config equal to ``source``; ``heals``: also against changes by hand."""
    from reconciler.sync.loop import SyncDaemon

    ready(store)
    return SyncDaemon(
        store,
        source,
        poll_s=poll_s,
        mutable_versions=mutable_versions,
        heals=heals,
        limit=limit,
        health_gate=health_gate,
        emit=emit,
    )


def health_gate(store: Store, limit_s: float | None) -> "Gate":
    """How sync sees whether services are healthy: as ``reconciler status`` does.

    ``limit_s``: how long a revision has to make them so; None: new revisions are not tried.
    """
    from reconciler.sync.gate import Gate, Look, Pair

    def judge(pairs: frozenset[Pair]) -> Look:
        from reconciler.queries import fleet, settling  # much code, which sync needs for this only

        return settling.look(fleet.read(store, time.time()), pairs)

    return Gate(judge, limit_s)


def reporter(store: Store, daemon: "SyncDaemon", audience: "Audience") -> "ReporterDaemon":
    """Has others hear what becomes of the revisions that ``daemon`` applies."""
    from reconciler.notify.receivers import read_place
    from reconciler.queries import fleet, settling
    from reconciler.sync.reporter import ReporterDaemon, Survey

    name = audience.about.source

    def survey() -> Survey:
        found = fleet.read(store, time.time())
        return Survey(
            own=found.snapshot.sources.get(name),
            prints=settling.prints(found, name),
            look=lambda pairs: settling.look(found, pairs),
            doubt=found.scene.doubt,
        )

    read_secret = read_place(os.environ)
    return ReporterDaemon(store, audience, held=lambda: daemon.held, survey=survey, read_secret=read_secret)
