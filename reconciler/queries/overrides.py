"""What operators changed by hand and is in force: for ``status`` and ``plan``, beside what is declared."""

from collections.abc import Iterator, Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Host
from reconciler.model.overrides import Drained, Paused, Scaled
from reconciler.scheduler.snapshot import Snapshot


class OverrideRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. ``declared`` is what the manifest says of ``field``; both are None of a pause.

    Times are seconds since 1970; ``until`` 0: until the manifest changes that field, or a command takes it back;
    ``deadline`` is that of a drain (0: none).
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
    deadline: float = 0.0
    asleep: bool = False
    """The manifest says something else than it did then, so it does not count until that is said again."""

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
    return tuple(row for row in all_said(snapshot) if not row.asleep)


def all_said(snapshot: Snapshot) -> tuple[OverrideRow, ...]:
    """All whose time is not over, by kind and name, also those that are asleep."""
    return tuple(_rows(snapshot))


def _rows(snapshot: Snapshot) -> Iterator[OverrideRow]:
    said = snapshot.overrides
    for name, cluster in sorted(said.clusters.items()):
        if pause := cluster.pause(said.now):
            yield _row("cluster", "" if name == keys.EVERY else name, "paused", pause)
    for name in sorted(said.hosts):
        drained = said.hosts[name].drained
        if drained is not None and not drained.is_over(said.now):
            is_asleep = not drained.holds(_host(snapshot.host_configs, name).draining, said.now)
            yield _row("host", name, "draining", drained, drained.draining, drained.declared, asleep=is_asleep)
    for name in sorted(said.services):
        service = snapshot.services.get(name)
        scaled = said.services[name].scaled
        if service is not None and scaled is not None and not scaled.is_over(said.now):
            is_asleep = not scaled.holds(service.desired, said.now)
            yield _row("service", name, "desired", scaled, scaled.desired, scaled.declared, asleep=is_asleep)


def _row(
    kind: str,
    name: str,
    field: str,
    said: Paused | Drained | Scaled,
    value: int | bool | None = None,
    declared: int | bool | None = None,
    *,
    asleep: bool = False,
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
        deadline=said.deadline if isinstance(said, Drained) else 0.0,
        asleep=asleep,
    )


def _host(configs: Mapping[str, Host], name: str) -> Host:
    return configs.get(name, Host(name=name))
