"""What ``state/provenance/*`` must say of a revision: the file, line, commit and author of each object. Pure.

``provenance_record`` asks, reads and writes. The cost is that of what changed: a file whose content is the same keeps
its record, and only shards with another record are written.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice, zip_longest
from typing import Final, TypeAlias

import msgspec

from reconciler.model.provenance import MOST_OBJECTS, DeclaredIn, shard_of
from reconciler.model.texts import cut

MOST_CHARACTERS: Final = 80
"""Of an author and a subject."""

Shards: TypeAlias = dict[str, tuple[DeclaredIn, ...]]


class File(msgspec.Struct, frozen=True, gc=False):
    """A file as it is now: a digest of its content, and the line of each object, by its key below ``config/``.

    ``values`` are the lines of values of objects that other files declare.
    """

    digest: str
    objects: dict[str, int]
    values: dict[str, int] = {}


class Made(msgspec.Struct, frozen=True):
    """How a file came to be as it is; without a commit, ``author`` is whoever applied it."""

    commit: str = ""
    author: str = ""
    subject: str = ""
    at: float = 0.0


class Known(msgspec.Struct, frozen=True):
    """What is recorded, by file."""

    by_file: Mapping[str, tuple[DeclaredIn, ...]]

    @classmethod
    def of(cls, shards: Mapping[str, tuple[DeclaredIn, ...]]) -> "Known":
        """Sort what is stored by file."""
        found: dict[str, tuple[DeclaredIn, ...]] = {}
        for records in shards.values():
            for record in records:
                found[record.file] = (*found.get(record.file, ()), record)
        return cls(found)

    def made(self, name: str, file: File) -> DeclaredIn | None:
        """A record of this very content of the file."""
        return next((each for each in self.by_file.get(name, ()) if each.digest == file.digest), None)

    def same(self, name: str, digest: str, objects: Mapping[str, int], values: Mapping[str, int]) -> DeclaredIn | None:
        """The record that says just this."""
        for each in self.by_file.get(name, ()):
            if each.declared and each.digest == digest and each.objects == objects and each.values == values:
                return each
        return None


def unexplained(files: Mapping[str, File], known: Known, *, also_without_commit: bool) -> set[str]:
    """The files of which nobody knows how they came to be as they are."""
    found = set()
    for name, file in files.items():
        made = known.made(name, file)
        if made is None or (also_without_commit and not made.commit):
            found.add(name)
    return found


def shards(
    files: Mapping[str, File], known: Known, made: Mapping[str, Made], kept: AbstractSet[str], *, is_whole: bool
) -> Shards:
    """All records, by shard.

    ``made`` says it of the files that were ``unexplained``; ``kept`` are objects that are stored and stand in none of
    ``files``. ``is_whole``: the files are all that the source declares, so ``kept`` ones are declared no more.
    """
    found: dict[str, list[DeclaredIn]] = defaultdict(list)
    for name, file in files.items():
        nothing: dict[str, int] = {}
        parts = zip_longest(_parts(file.objects), _parts(file.values), fillvalue=nothing)
        for part, (objects, values) in enumerate(parts):
            record = known.same(name, file.digest, objects, values)
            if record is None or (name in made and not _says(record, made[name])):
                record = _record(name, file.digest, objects, values, made.get(name) or _made(known.made(name, file)))
            found[shard_of(name, part)].append(record)
    for record in _left(known, kept, is_whole=is_whole) if kept else ():
        found[shard_of(record.file)].append(record)
    return {shard: tuple(sorted(records, key=_order)) for shard, records in found.items()}


def changed(before: Mapping[str, tuple[DeclaredIn, ...]], after: Shards) -> list[str]:
    """The shards that must be written, or deleted where ``after`` has none."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name, ()) != after.get(name, ()))


def _parts(objects: Mapping[str, int]) -> Iterable[dict[str, int]]:
    if len(objects) <= MOST_OBJECTS:
        return (dict(objects),)
    rest = iter(objects.items())
    return iter(lambda: dict(islice(rest, MOST_OBJECTS)), {})


def _record(name: str, digest: str, objects: dict[str, int], values: dict[str, int], made: Made) -> DeclaredIn:
    return DeclaredIn(
        file=name,
        digest=digest,
        objects=objects,
        commit=made.commit,
        author=cut(made.author, MOST_CHARACTERS),
        subject=cut(made.subject, MOST_CHARACTERS),
        at=made.at,
        values=values,
    )


def _made(record: DeclaredIn | None) -> Made:
    return Made(record.commit, record.author, record.subject, record.at) if record else Made()


def _says(record: DeclaredIn, made: Made) -> bool:
    return record.commit == made.commit


def _left(known: Known, kept: AbstractSet[str], *, is_whole: bool) -> Iterable[DeclaredIn]:
    """Records of objects that are still stored, as they were."""
    for records in known.by_file.values():
        for record in records:
            objects = {key: line for key, line in record.objects.items() if key in kept}
            values = {key: line for key, line in record.values.items() if key in kept}
            if objects or values:
                declared = record.declared and not is_whole
                yield msgspec.structs.replace(record, objects=objects, values=values, declared=declared)


def _order(record: DeclaredIn) -> tuple[str, str, str]:
    return record.file, record.digest, min(record.objects, default="")
