"""Which hosts may take a task. Each filter carries its explanation, with the numbers.

``placement`` asks ``fits`` for every host that it considers; ``explain`` and the reasons in plans ask ``refusal``.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from reconciler.model import ports
from reconciler.model.manifests import Constraint, Placement, TaskDefinition
from reconciler.scheduler import constraints
from reconciler.scheduler.cluster_view import ClusterView, HostView, Use

_ANYWHERE: Final = Placement()


class Demand(msgspec.Struct, frozen=True, cache_hash=True):
    """What a task needs of a host, and which of those that have it are best.

    ``fixed_ports``: these very ones; ``provided_ports``: so many of the host's range. ``apart``: services whose tasks
    may not be there. ``packs``: the fullest host first; ``spread_over``: a host tag over whose values tasks spread.
    """

    memory: int = 0
    cpu_units: int = 0
    fixed_ports: tuple[int, ...] = ()
    provided_ports: int = 0
    executors: tuple[str, ...] = ()
    disk: int = 0
    constraints: tuple[Constraint, ...] = ()
    apart: tuple[str, ...] = ()
    packs: bool = False
    spread_over: str | None = None

    @classmethod
    def of(
        cls, definition: TaskDefinition, placement: Placement | None = None, apart: tuple[str, ...] = ()
    ) -> "Demand":
        """What tasks of this definition need."""
        where = placement or _ANYWHERE
        return cls(
            memory=definition.memory,
            cpu_units=definition.cpu_units,
            fixed_ports=ports.fixed(definition),
            provided_ports=ports.provided(definition),
            executors=tuple(sorted({container.type for container in definition.containers})),
            disk=definition.disk,
            constraints=where.constraints,
            apart=apart,
            packs=where.strategy == "binpack",
            spread_over=where.spread_over,
        )

    @classmethod
    def in_view(cls, view: ClusterView, service: str, definition: TaskDefinition) -> "Demand":
        """What tasks of this definition need when they are of that service."""
        declared = view.services.get(service)
        return cls.of(definition, declared.placement if declared else None, view.apart.beside.get(service, ()))


class Room(msgspec.Struct):
    """A host while a plan is made: what is still free, counting what the plan has given away so far.

    ``services`` counts the tasks there by service, ``leaving`` are the beginnings of the ids of those without a record.
    """

    view: HostView
    tasks: int
    memory: int
    cpu_units: int
    disk: int
    ports: dict[int, str]
    services: dict[str, int]
    leaving: tuple[str, ...] = ()
    load: float = 0.0

    @property
    def name(self) -> str:
        return self.view.name

    @classmethod
    def of(cls, view: HostView) -> "Room":
        """The host as it is at the start. Free may be negative: records are promises, whatever the host has now."""
        return cls(
            view=view,
            tasks=view.issued.tasks + view.leaving.tasks,
            memory=view.memory - view.issued.memory - view.leaving.memory,
            cpu_units=view.cpu_units - view.issued.cpu_units - view.leaving.cpu_units,
            disk=view.disk - view.issued.disk - view.leaving.disk,
            ports={**view.leaving.ports, **view.issued.ports},
            services=dict(view.issued.services),
            leaving=tuple(view.leaving.services),
        )

    def without(self, gone: Use, *, when_left: bool) -> "Room":
        """The same host if those tasks were gone, and (``when_left``) all that are leaving it already."""
        leaving = self.view.leaving
        without = Room(
            view=self.view,
            tasks=self.tasks,
            memory=self.memory + gone.memory,
            cpu_units=self.cpu_units + gone.cpu_units,
            disk=self.disk + gone.disk,
            ports={port: holder for port, holder in self.ports.items() if gone.ports.get(port) != holder},
            services={name: left for name, had in self.services.items() if (left := had - gone.services.get(name, 0))},
            leaving=self.leaving,
        )
        if when_left:
            without.memory += leaving.memory
            without.cpu_units += leaving.cpu_units
            without.disk += leaving.disk
            without.ports = {port: each for port, each in without.ports.items() if leaving.ports.get(port) != each}
            without.leaving = ()
        else:
            without.ports = {**leaving.ports, **without.ports}
        return without

    def take(self, demand: Demand, service: str, sign: int = 1) -> None:
        """Give away what a task needs, but for its ports; ``sign`` -1: take it back."""
        self.tasks += sign
        self.memory -= sign * demand.memory
        self.cpu_units -= sign * demand.cpu_units
        self.disk -= sign * demand.disk
        count = self.services.pop(service, 0) + sign
        if count:
            self.services[service] = count

    def kept_apart(self, demand: Demand) -> str | None:
        """A service there that the task is kept apart from."""
        for name in demand.apart:
            if name in self.services or any(each.endswith(f"-{name}") for each in self.leaving):
                return name
        return None

    def free_ports(self, demand: Demand, start: int = 0) -> tuple[int, ...]:
        """The ports to provide, looked for from the ``start``-th of the host's range on; fewer if there are no more."""
        first, last = self.view.port_range
        size = last - first + 1
        found: list[int] = []
        for offset in range(size):
            if len(found) == demand.provided_ports:
                break
            port = first + (start + offset) % size
            if port not in self.ports and port not in demand.fixed_ports:
                found.append(port)
        return tuple(found)

    def lacks_ports(self, demand: Demand) -> bool:
        """Whether the host's range has too few free ports."""
        return bool(demand.provided_ports) and len(self.free_ports(demand)) < demand.provided_ports


class Filter(msgspec.Struct, frozen=True):
    """``passes`` decides; ``explain`` says why not, of one host; ``summary`` says it of several."""

    name: str
    passes: Callable[[Room, Demand], bool]
    explain: Callable[[Room, Demand], str]
    summary: str


def _missing(room: Room, _: Demand) -> str:
    host = room.view
    if host.state is None:
        return "never reported itself"
    return f"missing{f' for {host.missing_s:.0f} s' if host.missing_s >= 1 else ''}"


def _executors(room: Room, demand: Demand) -> str:
    lacks = ", ".join(sorted(set(demand.executors) - set(room.view.executors)))
    return f"no executor {lacks}, only {', '.join(room.view.executors) or 'none'}"


def _memory(room: Room, demand: Demand) -> str:
    return f"{demand.memory} MiB of memory needed, {max(0, room.memory)} of {room.view.memory} MiB free"


def _cpu_units(room: Room, demand: Demand) -> str:
    return f"{demand.cpu_units} cpu_units needed, {max(0, room.cpu_units)} of {room.view.cpu_units} free"


def _disk(room: Room, demand: Demand) -> str:
    if room.view.state is not None and not room.view.state.disk:
        return f"{demand.disk} MiB of disk needed, and its agent does not say how much it has"
    return f"{demand.disk} MiB of disk needed, {max(0, room.disk)} of {room.view.disk} MiB free"


def _constraints(room: Room, demand: Demand) -> str:
    found = constraints.broken(room.view, demand.constraints)
    return constraints.explain(room.view, found) if found else ""


def _apart(room: Room, demand: Demand) -> str:
    name = room.kept_apart(demand) or ""
    count = room.services.get(name, 0)
    there = f"{count} task{'s' if count > 1 else ''} of it {'are' if count > 1 else 'is'} there" if count else ""
    return f"kept apart from {name}: {there or 'one of its tasks is stopping there'}"


def _fixed_port(room: Room, demand: Demand) -> str:
    taken = [f"{port} is taken by {room.ports[port]}" for port in demand.fixed_ports if port in room.ports]
    return f"port {' and port '.join(taken)}"


def _provided_port(room: Room, demand: Demand) -> str:
    first, last = room.view.port_range
    free = len(room.free_ports(demand))
    if not free:
        return f"no port of {first}-{last} is free"
    return f"{demand.provided_ports} ports of {first}-{last} needed, {free} free"


STEADY: Final = (
    Filter("present", lambda room, _: room.view.present and room.view.state is not None, _missing, "are missing"),
    Filter("draining", lambda room, _: not room.view.config.draining, lambda *_: "draining", "are draining"),
    Filter(
        "executors",
        lambda room, demand: set(demand.executors) <= set(room.view.executors),
        _executors,
        "lack an executor",
    ),
    Filter(
        "constraints",
        lambda room, demand: constraints.broken(room.view, demand.constraints) is None,
        _constraints,
        "are ruled out by a constraint",
    ),
)
"""What a plan does not change: ``pools`` asks these once for each class of hosts."""

FILTERS: Final = (
    *STEADY,
    Filter(
        "apart",
        lambda room, demand: not demand.apart or room.kept_apart(demand) is None,
        _apart,
        "have tasks that it is kept apart from",
    ),
    Filter(
        "memory",
        lambda room, demand: not demand.memory or demand.memory <= room.memory,
        _memory,
        "have too little memory",
    ),
    Filter(
        "cpu_units",
        lambda room, demand: not demand.cpu_units or demand.cpu_units <= room.cpu_units,
        _cpu_units,
        "have too few cpu_units",
    ),
    Filter("disk", lambda room, demand: not demand.disk or demand.disk <= room.disk, _disk, "have too little disk"),
    Filter(
        "port",
        lambda room, demand: not demand.fixed_ports or room.ports.keys().isdisjoint(demand.fixed_ports),
        _fixed_port,
        "have the port taken",
    ),
    Filter(
        "provided port",
        lambda room, demand: not room.lacks_ports(demand),
        _provided_port,
        "have too few free ports",
    ),
)
"""In the order in which they are asked; the first that says no is the reason."""

CHANGING: Final = FILTERS[len(STEADY) :]


def has_room(room: Room, demand: Demand) -> bool:
    """Whether a host that is of the right kind may take the task now."""
    return all(each.passes(room, demand) for each in CHANGING)


def fits(room: Room, demand: Demand) -> bool:
    """Whether the host may take the task."""
    return all(each.passes(room, demand) for each in FILTERS)


def refusal(room: Room, demand: Demand) -> Filter | None:
    """The first filter that says no."""
    return next((each for each in FILTERS if not each.passes(room, demand)), None)
