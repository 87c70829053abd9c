"""All that is declared, to be looked up by name. Pure; made by ``references`` for one load."""

from collections.abc import Iterable, Iterator

from reconciler.manifests.entries import Entry
from reconciler.model.manifests import Cluster, ConfigObject, Host, Service, TaskDefinition


class Index:
    """The names that may be referred to, of right and of broken objects, and of those ``known`` from elsewhere."""

    def __init__(self, entries: Iterable[Entry], known: Iterable[ConfigObject]) -> None:
        self.services: set[str] = set()
        self.listed_services: set[str] = set()
        """Those that a cluster lists."""
        self.definition_versions: dict[str, set[int | None]] = {}
        """The declared versions of each task definition; None among them: one that can't be read."""
        self.definitions: dict[tuple[str, int], TaskDefinition] = {}
        self.usable_hosts: set[str] = set()
        """The hosts declared that may take tasks."""
        for entry in entries:
            if entry.object is not None:
                self._add(entry.object)
            else:
                self._add_broken(entry)
        for thing in known:
            self._add(thing)

    def _add(self, thing: ConfigObject) -> None:
        match thing:
            case Cluster():
                self.listed_services.update(thing.services)
            case Service():
                self.services.add(thing.name)
            case TaskDefinition():
                self.definition_versions.setdefault(thing.name, set()).add(thing.version)
                self.definitions.setdefault((thing.name, thing.version), thing)
            case Host():
                if not thing.draining:
                    self.usable_hosts.add(thing.name)

    def _add_broken(self, entry: Entry) -> None:
        """It is declared, so what refers to it is not wrong as well."""
        if entry.kind == "clusters":
            self.listed_services.update(_texts(entry))
        elif entry.name is not None and entry.kind == "services":
            self.services.add(entry.name)
        elif entry.name is not None and entry.kind == "task_definitions":
            self.definition_versions.setdefault(entry.name, set()).add(entry.version)


def _texts(cluster: Entry) -> Iterator[str]:
    """The services that a broken cluster lists, as far as can be seen."""
    listed = cluster.node.fields.get("services")
    for node in listed.items if listed else ():
        if isinstance(node.value, str):
            yield node.value
