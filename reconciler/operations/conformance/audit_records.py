"""What must be true of every record, in every picture. Pure; ``stage`` calls it with each new picture.

``Audit.records`` looks at each task once, when it is first seen, and at the pairs and numbers each time.
"""

from collections import defaultdict

import msgspec
from msgspec import UNSET

from reconciler.model import codec, keys, names, ports
from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Task
from reconciler.operations.conformance.declared import Declared
from reconciler.operations.conformance.picture import Picture
from reconciler.operations.conformance.rules import Ledger


class RecordAudit:
    """Judges records; remembers which it has seen."""

    def __init__(self, ledger: Ledger, cluster: str, port_ranges: dict[str, tuple[int, int]]) -> None:
        """``port_ranges``: by host, from which ports may be provided there."""
        self._ledger = ledger
        self._cluster = cluster
        self._port_ranges = port_ranges
        self._seen: dict[tuple[str, int], tuple[int, Task]] = {}
        self._issue_of: dict[int, int] = {}
        self._seq: tuple[int, int] = (0, 0)

    def look(self, picture: Picture, declared: Declared) -> None:
        """Judge all that is new in a picture."""
        for message in picture.unreadable.values():
            self._ledger.broken("record", message)
        self._pairs(picture)
        self._head(picture)
        for task_id, task in picture.tasks.items():
            index = picture.by_id[task_id].index
            known_at, known = self._seen.get((task.id, task.issue), (0, None))
            if known is not None and known_at != index and _in_place(known) == _in_place(task):
                self._seen[task.id, task.issue] = index, task  # what its service says may change, and nothing else
            elif known_at != index:
                self._first_sight(picture, declared, task_id, task, index)

    def _first_sight(self, picture: Picture, declared: Declared, task_id: str, task: Task, index: int) -> None:
        key = keys.task_by_id(task_id)
        definition = declared.definition_of(task)
        self._ledger.judge("record", self._wrong(declared, task_id, task, definition), f"{key}: {_shown(task)}")
        before, _ = self._seen.get((task.id, task.issue), (None, None))
        again = f"{key} (index {index}) has issue {task.issue}, as one of that id had at index {before}"
        self._ledger.judge(
            "sequence",
            again if before is not None else self._wrong_issue(picture, task, index),
            f"{key}: issue {task.issue} at index {index}, seq {picture.head.seq if picture.head else 'none'}",
        )
        self._ledger.judge(
            "placement-sequence",
            None
            if picture.placement_index >= index
            else f"{key} was issued at index {index}, {keys.PLACEMENT} moved last at {picture.placement_index}",
            f"{keys.PLACEMENT} moved with {key} at index {index}",
        )
        self._seen[task.id, task.issue] = index, task

    def _pairs(self, picture: Picture) -> None:
        """Both records, equal, of one transaction."""
        hosts: dict[str, list[str]] = defaultdict(list)
        for host, task_id in picture.by_host:
            hosts[task_id].append(host)
        for task_id, entry in picture.by_id.items():
            task = picture.tasks.get(task_id)
            if task is None:
                continue
            copy = picture.by_host.get((task.host, task_id))
            other = keys.task_by_host(task.host, task_id)
            if copy is None:
                problem = f"{entry.key} (index {entry.index}) is there, {other} is not"
            elif copy.value != entry.value:
                problem = f"{entry.key} and {other} differ: {entry.value.decode()} and {copy.value.decode()}"
            elif copy.index != entry.index:
                problem = f"{entry.key} was written at index {entry.index}, {other} at {copy.index}"
            else:
                problem = None
            self._ledger.judge("both-records", problem, f"{entry.key} and {other} at index {entry.index}")
        for task_id, there in hosts.items():
            task = picture.tasks.get(task_id)
            for host in there:
                if task_id not in picture.by_id or (task is not None and task.host != host):
                    other = keys.task_by_host(host, task_id)
                    self._ledger.broken("both-records", f"{other} is there, {keys.task_by_id(task_id)} is not")

    def _head(self, picture: Picture) -> None:
        """The seq only grows, and grows with every write of the head."""
        seq, index = self._seq
        if picture.head is None or picture.head_index == index:
            return
        key = keys.cluster_head(self._cluster)
        if index and picture.head.seq <= seq:
            self._ledger.broken(
                "sequence", f"{key} went from seq {seq} (index {index}) to {picture.head.seq} ({picture.head_index})"
            )
        self._seq = (picture.head.seq, picture.head_index)

    def _wrong_issue(self, picture: Picture, task: Task, index: int) -> str | None:
        """What is wrong with a new record's issue."""
        key, head_key = keys.task_by_id(task.id), keys.cluster_head(self._cluster)
        if picture.head is None:
            return f"{key} was issued, and there is no {head_key}"
        if picture.head_index < index:
            return f"{key} was issued at index {index}, {head_key} was written last at {picture.head_index}"
        if picture.head_index == index and picture.head.seq != task.issue:
            return f"{key} has issue {task.issue}, {head_key} of the same transaction has seq {picture.head.seq}"
        if task.issue > picture.head.seq:
            return f"{key} has issue {task.issue}, {head_key} has only seq {picture.head.seq}"
        if self._issue_of.setdefault(index, task.issue) != task.issue:
            return f"{key} has issue {task.issue}, another of the same transaction {self._issue_of[index]}"
        other = next((at for at, issue in self._issue_of.items() if issue == task.issue and at != index), None)
        if other is not None:
            return f"{key} (index {index}) has issue {task.issue}, as what was issued at index {other}"
        return None

    def _wrong(self, declared: Declared, task_id: str, task: Task, definition: TaskDefinition | None) -> str | None:
        """What is wrong with a record by itself."""
        key = keys.task_by_id(task_id)
        expected_id = names.task_id(task.cluster, task.service, task.task_version, task.instance)
        if not task_id == task.id == expected_id:
            return f"{key}: id is {task.id!r}, its fields make {expected_id!r}"
        if task.cluster != self._cluster:
            return f"{key}: cluster is {task.cluster!r}, not {self._cluster!r}"
        if task.instance < 0 or task.issue < 1:
            return f"{key}: instance {task.instance}, issue {task.issue}"
        if definition is None:
            return f"{key}: there is no definition {task.task_name} version {task.task_version}"
        digest = codec.digest(definition)
        if task.digest != digest:
            return f"{key}: digest is {task.digest!r}, that of {task.task_name} version {task.task_version} is {digest}"
        held = (task.memory, task.cpu_units, task.disk)
        if any(held) and held != (definition.memory, definition.cpu_units, definition.disk):
            text = f"memory {task.memory}, cpu_units {task.cpu_units} and disk {task.disk}"
            return f"{key}: {text} are not the definition's"
        return self._wrong_place(declared, key, task, definition)

    def _wrong_place(self, declared: Declared, key: str, task: Task, definition: TaskDefinition) -> str | None:
        if task.host not in self._port_ranges:
            return f"{key}: there is no host {task.host!r}"
        config = declared.hosts.get(task.host)
        first, last = (config and config.port_range) or self._port_ranges[task.host]
        if definition.provide_port and not first <= task.port <= last:
            return f"{key}: port {task.port} is not of {task.host}'s range {first} to {last}"
        if not definition.provide_port and task.port != definition.port:
            return f"{key}: port is {task.port}, the definition's is {definition.port}"
        if task.named_ports.keys() != {each.name for each in definition.ports}:
            names_there = ", ".join(sorted(task.named_ports)) or "none"
            return f"{key}: ports has {names_there}, the definition {', '.join(each.name for each in definition.ports)}"
        for each in definition.ports:
            port = task.named_ports[each.name]
            if each.port and port != each.port:
                return f"{key}: port {each.name} is {port}, the definition's is {each.port}"
            if not each.port and not first <= port <= last:
                return f"{key}: port {each.name}, {port}, is not of {task.host}'s range {first} to {last}"
        if task.published and task.published != ports.further(definition):
            return f"{key}: published has {task.published}, the definition {ports.further(definition)}"
        return None


def _in_place(task: Task) -> Task:
    """A record without what may be rewritten while the task runs on."""
    return msgspec.structs.replace(task, discovery_name=UNSET, stop_isolated_after_s=UNSET)


def _shown(task: Task) -> str:
    return f"host {task.host}, port {task.port}, digest {task.digest}"
