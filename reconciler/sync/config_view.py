"""``config/*`` and the sources' marks at one moment. ``observe`` reads it, ``plan`` and ``late`` decide from it."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode
from reconciler.model.intents import Adoption
from reconciler.model.manifests import Cluster, ConfigObject, Host, Service, TaskDefinition
from reconciler.model.source_state import SourceCounts, SourceState

KINDS: tuple[tuple[str, type[ConfigObject], str, str], ...] = (
    (keys.TASK_DEFINITIONS, TaskDefinition, "task_definitions", "task definition"),
    (keys.SERVICES, Service, "services", "service"),
    (keys.CLUSTERS, Cluster, "clusters", "cluster"),
    (keys.HOSTS, Host, "hosts", "host"),
)
"""Prefix, type, name in ``SourceCounts`` and name for people, in the order in which objects are written.

In this order (and the reverse one for deletions) every part of the writes is valid by itself, for programs that don't
know the marks.
"""


_PREFIXES = tuple(prefix for prefix, *_ in KINDS)
_RANKS = {prefix.split("/")[1]: position for position, prefix in enumerate(_PREFIXES)}


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An object as it is stored; ``owner`` is the source that it says manages it, None if it says none."""

    value: bytes
    index: int
    owner: str | None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a source sees of the store.

    ``config`` holds only keys of our kinds of objects. ``marks`` are the indexes of all ``state/sync/*``, readable or
    not, ``moved`` is that of ``config/.moved`` (0: there is none). ``still`` says that no mark moved while ``config/*``
    was read; the own one never did. ``promised`` is what other sources are about to adopt from this one, by name.
    """

    source: str
    store_id: str
    config: Mapping[str, Stored]
    sources: Mapping[str, SourceState]
    marks: Mapping[str, int]
    moved: int = 0
    still: bool = True
    promised: Mapping[str, Adoption] = {}

    @property
    def own(self) -> SourceState | None:
        """What is recorded of the source itself."""
        return self.sources.get(self.source)

    @property
    def own_index(self) -> int:
        """The index of the own mark, 0 if there is none."""
        return self.marks.get(keys.source(self.source), 0)

    def is_from(self, location: str | None) -> bool:
        """Whether what is applied, or begun, was read at a location (None: it does not matter where)."""
        return self.own is not None and location in {None, self.own.location}

    def is_at(self, revision: str, location: str | None = None) -> bool:
        """Whether all of a revision, read at a location, is applied: then what differs was changed by somebody else."""
        own = self.own
        return own is not None and own.mark.settled and own.mark.revision == revision and self.is_from(location)

    def mine(self) -> set[str]:
        """The keys of the objects that the source itself manages."""
        return self.of(self.source)

    def of(self, source: str) -> set[str]:
        """The keys of the objects that a source manages."""
        return {key for key, stored in self.config.items() if stored.owner == source}


class _Claim(msgspec.Struct):
    managed_by: str | None = None


def owner_of(value: bytes) -> str | None:
    """Which source a stored object says manages it, readable otherwise or not."""
    try:
        return msgspec.json.decode(value, type=_Claim).managed_by
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_object(key: str) -> bool:
    """Whether a key is one of our objects; other programs may keep theirs under ``config/`` too."""
    return key.startswith(_PREFIXES)


def rank(key: str) -> int:
    """The position of a key's kind in the order of writing."""
    return _RANKS[key.split("/", 2)[1]]


def label(key: str) -> str:
    """What a key stands for, for people: ``task definition web version 2``."""
    prefix, _, _, kind = KINDS[rank(key)]
    name, slash, version = key.removeprefix(prefix).partition("/")
    return f"{kind} {name} version {version}" if slash else f"{kind} {name}"


def counts_of(some_keys: Iterable[str]) -> SourceCounts:
    """How many there are of each kind."""
    numbers = [0] * len(KINDS)
    for key in some_keys:
        numbers[rank(key)] += 1
    return _counts(numbers)


def counts_after(counts: SourceCounts, created: Iterable[str], deleted: Iterable[str]) -> SourceCounts:
    """How many there are once some more exist and others don't."""
    numbers = [getattr(counts, field) for _, _, field, _ in KINDS]
    for key in created:
        numbers[rank(key)] += 1
    for key in deleted:
        numbers[rank(key)] -= 1
    return _counts(numbers)


def _counts(numbers: Sequence[int]) -> SourceCounts:
    return SourceCounts(**{field: number for (_, _, field, _), number in zip(KINDS, numbers, strict=True)})


def object_at(key: str, value: bytes) -> ConfigObject | None:
    """The object stored at a key; None if it can't be understood."""
    try:
        return decode(value, KINDS[rank(key)][1], key)
    except Undecodable:
        return None
