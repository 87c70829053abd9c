"""What a host fetches before an old task there makes room for a new one: what is asked of it, and how far it is."""

import msgspec


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is to have here before a task of this definition takes the place of another there.

    Stored twice with the same content: ``state/rollouts/<cluster>/<service>/<host>`` for schedulers, and beside the
    host's tasks, ``state/tasks/<host>/.prepare/<cluster>/<service>``, for its agent; for as long as it is needed.
    """

    cluster: str
    service: str
    host: str
    task_name: str
    task_version: int
    digest: str


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """How far a host is with a preparation, as its agent publishes it.

    ``failed``: the last try did, or something is against it, for the ``reason`` given; the agent goes on trying.
    """

    digest: str
    ready: bool = False
    failed: bool = False
    reason: str = ""
