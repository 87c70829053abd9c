"""How full hosts are: spreading prefers the emptiest, packing the fullest; the name decides between equals."""

from typing import Final

from reconciler.scheduler.filters import Room

NOMINAL_MEMORY: Final = 64
NOMINAL_CPU_UNITS: Final = 64
"""What a task is assumed to use beside what it says, so that tasks that say nothing spread as well."""
NOMINAL_HOST: Final = 4096
"""What a host is assumed to have when it says nothing."""


def fullness(room: Room) -> float:
    """How full the host is, in memory or cpu, whichever is fuller."""
    memory, cpu_units = room.view.memory or NOMINAL_HOST, room.view.cpu_units or NOMINAL_HOST
    used_memory = room.view.memory - room.memory + room.tasks * NOMINAL_MEMORY
    used_cpu_units = room.view.cpu_units - room.cpu_units + room.tasks * NOMINAL_CPU_UNITS
    return max(used_memory / memory, used_cpu_units / cpu_units)
