"""What operators changed by hand on top of what is declared: ``state/overrides/{services,hosts,clusters}/<name>``.

Commands write it, one key each; schedulers lay it over ``config/``, which so stays what git says. What overrides a
field remembers what the manifest said at that time, and ends when the manifest says something else, at its own time,
or when a command takes it back. Who changes the field in ``config/`` takes it out of here in the same transaction
(``sync.overridden``), so that it never comes alive again.
"""

import msgspec


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable; unknown fields are passed over."""


class _Said(_Record, frozen=True, kw_only=True):
    """Who said so, why and when; ``until`` (seconds since 1970) 0: no end of its own."""

    by: str
    reason: str = ""
    since: float
    until: float = 0.0

    def is_over(self, now: float) -> bool:
        """Whether its time has come; ``now`` is wall time."""
        return bool(self.until) and now >= self.until


class Scaled(_Said, frozen=True, kw_only=True):
    """``desired`` is another than the manifest's, which was ``declared``; 0: the service is stopped."""

    desired: int
    declared: int

    def holds(self, declared: int, now: float) -> bool:
        """Whether it is in force while the manifest says ``declared``."""
        return self.declared == declared and not self.is_over(now)


class Restarted(_Said, frozen=True, kw_only=True):
    """Tasks go that were issued up to these ``seq``s, by cluster; others take their place as in a rollout."""

    issued: dict[str, int]


class Rebalanced(_Said, frozen=True, kw_only=True):
    """These issues of tasks, by id, would be better elsewhere: others take their place, healthy first."""

    tasks: dict[str, int]


class Verdict(_Said, frozen=True, kw_only=True):
    """What an operator says to one rollout, by the definition that it goes to: go on (``promote``), or go back."""

    promote: bool
    target_version: int
    target_digest: str


class ServiceOverride(_Record, frozen=True, kw_only=True):
    """All that operators said about a service."""

    service: str
    scaled: Scaled | None = None
    restarted: Restarted | None = None
    rebalanced: Rebalanced | None = None
    verdict: Verdict | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return all(each is None for each in (self.scaled, self.restarted, self.rebalanced, self.verdict))


class Drained(_Said, frozen=True, kw_only=True):
    """``draining`` is another than the manifest's, which was ``declared``.

    ``deadline`` (seconds since 1970; 0: none): from then on what is still on the host is replaced at once.
    """

    draining: bool
    declared: bool
    deadline: float = 0.0

    def holds(self, declared: bool, now: float) -> bool:
        """Whether it is in force while the manifest says ``declared``."""
        return self.declared == declared and not self.is_over(now)


class HostOverride(_Record, frozen=True, kw_only=True):
    """All that operators said about a host."""

    host: str
    drained: Drained | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return self.drained is None


class Paused(_Said, frozen=True, kw_only=True):
    """The emergency brake: nothing is started, stopped or moved but what replaces the dead."""


class ClusterOverride(_Record, frozen=True, kw_only=True):
    """All that operators said about a cluster; or, under ``keys.EVERY``, about all of them."""

    cluster: str
    paused: Paused | None = None

    def pause(self, now: float) -> Paused | None:
        """The pause, if it is in force."""
        return self.paused if self.paused is not None and not self.paused.is_over(now) else None
