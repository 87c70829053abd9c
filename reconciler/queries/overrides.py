"""What operators changed by hand and is in force: for ``status`` and ``plan``, beside what is declared."""

from collections.abc import Iterator, Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Host
from reconciler.model.overrides import Drained, Paused, Scaled
from reconciler.scheduler.snapshot import Snapshot


class OverrideRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. ``declared`` is what the manifest says of ``field``; both are None of a pause.

    Times are seconds since 1970; ``until`` 0: until the manifest changes that field, or a command takes it back.
    """

    kind: str
    name: str
    field: str
    value: int | bool | None = None
    declared: int | bool | None = None
    by: str
    reason: str
    since: float
    until: float

    @property
    def text(self) -> str:
        """``service web: desired 5 instead of 3``."""
        if self.field == "paused":
            return f"{self.kind} {self.name} is paused" if self.name else "every cluster is paused"
        if self.field == "draining":
            return (
                f"{self.kind} {self.name} {'drains' if self.value else 'does not drain'}, other than its manifest says"
            )
        return f"{self.kind} {self.name}: {self.field} {self.value} instead of {self.declared}"


def overrides(snapshot: Snapshot) -> tuple[OverrideRow, ...]:
    """All that are in force, by kind and name."""
    return tuple(_rows(snapshot))


def _rows(snapshot: Snapshot) -> Iterator[OverrideRow]:
    said = snapshot.overrides
    for name, cluster in sorted(said.clusters.items()):
        if pause := cluster.pause(said.now):
            yield _row("cluster", "" if name == keys.EVERY else name, "paused", pause)
    for name in sorted(said.hosts):
        if drained := said.drained(_host(snapshot.host_configs, name)):
            yield _row("host", name, "draining", drained, drained.draining, drained.declared)
    for name in sorted(said.services):
        service = snapshot.services.get(name)
        if service is not None and (scaled := said.scaled(service)):
            yield _row("service", name, "desired", scaled, scaled.desired, scaled.declared)


def _row(
    kind: str,
    name: str,
    field: str,
    said: Paused | Drained | Scaled,
    value: int | bool | None = None,
    declared: int | bool | None = None,
) -> OverrideRow:
    return OverrideRow(
        kind=kind,
        name=name,
        field=field,
        value=value,
        declared=declared,
        by=said.by,
        reason=said.reason,
        since=said.since,
        until=said.until,
    )


def _host(configs: Mapping[str, Host], name: str) -> Host:
    return configs.get(name, Host(name=name))
