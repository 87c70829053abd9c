"""Which hosts may take a task. Each filter carries its explanation, with the numbers.

``placement`` asks ``fits`` for every host that it considers; ``explain`` and the reasons in plans ask ``refusal``.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from reconciler.model.manifests import TaskDefinition
from reconciler.scheduler.cluster_view import HostView, Use


class Demand(msgspec.Struct, frozen=True):
    """What a task needs of a host. ``port``: a fixed one; ``provide_port``: any one of the host's range."""

    memory: int = 0
    cpu_units: int = 0
    port: int = 0
    provide_port: bool = False
    executors: tuple[str, ...] = ()

    @classmethod
    def of(cls, definition: TaskDefinition) -> "Demand":
        """What tasks of this definition need."""
        return cls(
            memory=definition.memory,
            cpu_units=definition.cpu_units,
            port=definition.port,
            provide_port=definition.provide_port and not definition.port,
            executors=tuple(sorted({container.type for container in definition.containers})),
        )


class Room(msgspec.Struct):
    """A host while a plan is made: what is still free, counting what the plan has given away so far."""

    view: HostView
    tasks: int
    memory: int
    cpu_units: int
    ports: dict[int, str]
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
            ports={**view.leaving.ports, **view.issued.ports},
        )

    def without(self, gone: Use, *, when_left: bool) -> "Room":
        """The same host if those tasks were gone, and (``when_left``) all that are leaving it already."""
        leaving = self.view.leaving
        memory, cpu_units = self.memory + gone.memory, self.cpu_units + gone.cpu_units
        ports = {port: holder for port, holder in self.ports.items() if gone.ports.get(port) != holder}
        if when_left:
            memory, cpu_units = memory + leaving.memory, cpu_units + leaving.cpu_units
            ports = {port: holder for port, holder in ports.items() if leaving.ports.get(port) != holder}
        else:
            ports = {**leaving.ports, **ports}
        return Room(self.view, self.tasks, memory, cpu_units, ports)

    def free_port(self, start: int) -> int:
        """A free port of the host's range, looked for from the ``start``-th on; 0 if there is none."""
        first, last = self.view.port_range
        size = last - first + 1
        if size < 1:
            return 0
        for offset in range(size):
            port = first + (start + offset) % size
            if port not in self.ports:
                return port
        return 0


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


def _fixed_port(room: Room, demand: Demand) -> str:
    return f"port {demand.port} is taken by {room.ports[demand.port]}"


def _provided_port(room: Room, _: Demand) -> str:
    first, last = room.view.port_range
    return f"no port of {first}-{last} is free"


FILTERS: Final = (
    Filter("present", lambda room, _: room.view.present and room.view.state is not None, _missing, "are missing"),
    Filter("draining", lambda room, _: not room.view.config.draining, lambda *_: "draining", "are draining"),
    Filter(
        "executors",
        lambda room, demand: set(demand.executors) <= set(room.view.executors),
        _executors,
        "lack an executor",
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
    Filter(
        "port",
        lambda room, demand: not demand.port or demand.port not in room.ports,
        _fixed_port,
        "have the port taken",
    ),
    Filter(
        "provided port",
        lambda room, demand: not demand.provide_port or room.free_port(0) != 0,
        _provided_port,
        "have no free port",
    ),
)
"""In the order in which they are asked; the first that says no is the reason."""


def fits(room: Room, demand: Demand) -> bool:
    """Whether the host may take the task."""
    return all(each.passes(room, demand) for each in FILTERS)


def refusal(room: Room, demand: Demand) -> Filter | None:
    """The first filter that says no."""
    return next((each for each in FILTERS if not each.passes(room, demand)), None)
