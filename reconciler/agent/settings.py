"""How one agent is set up. The command line and ``wiring`` make it; the planner is given it as it is."""

from pathlib import Path

import msgspec

from reconciler.executors.interface import Keep
from reconciler.model.manifests import PORT_RANGE


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How deaths are answered: the first at once, the next after growing delays, too many in a window not at all.

    Delays are ``first_delay_s``, ``delay_s``, then ``factor`` times as long each time up to ``most_delay_s``; each is
    shortened by up to ``jitter`` of itself.
    """

    first_delay_s: float = 0.01
    delay_s: float = 1.0
    factor: float = 4.0
    most_delay_s: float = 60.0
    jitter: float = 0.3
    max_attempts: int = 5
    window_s: float = 300.0


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``host`` is the name under which tasks are issued to this agent, ``address`` where others reach its tasks.

    ``runtime_dir`` keeps the lock file, the session's id and a generated machine id; nothing in it is needed to be
    correct, but all agents of one machine should share it. ``secrets_dir`` holds what manifests call a ``file``: only
    what is below it may be given to tasks.
    """

    host: str
    address: str
    runtime_dir: Path
    secrets_dir: Path = Path("/etc/reconciler/secrets")
    port_range: tuple[int, int] = PORT_RANGE
    restart: RestartPolicy = RestartPolicy()
    drain_delay_s: float = 2.0
    stop_timeout_s: float = 10.0
    start_deadline_s: float = 600.0
    withdraw_patience_s: float = 10.0
    """How long a stop waits for a health provider that does not answer."""
    doubt_s: float = 120.0
    """After the store's index went back, how long "not issued" must hold before it is believed (rule 5)."""
    poll_s: float = 30.0
    publish_interval_s: float = 1.0
    look_interval_s: float = 0.5
    session_ttl_s: float = 15.0
    """How soon it shows that the agent ended (that its machine did, Consul sees by itself). Tasks run on without it,
    and in a large fleet three renewals in this time are most of what happens at rest.
    """
    keep: Keep = Keep()
    sweep_s: float = 300.0
    """How often what is of no use any more is looked for."""
    parallel_starts: int = 0
    """How many starts run at once; 0: two per core."""
