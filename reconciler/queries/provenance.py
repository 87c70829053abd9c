"""Where the objects behind something are written: file, line, commit and author, for ``explain``."""

from collections.abc import Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode
from reconciler.model.manifests import ConfigObject
from reconciler.model.provenance import DeclaredIn, ProvenanceShard
from reconciler.queries.fleet import Fleet
from reconciler.store.interface import Store
from reconciler.sync.config_view import label


class ValuesIn(msgspec.Struct, frozen=True, kw_only=True):
    """Another file with values of an object: an overlay, or the values of parameters. As in ``Origin``."""

    file: str
    line: int
    commit: str = ""
    author: str = ""
    subject: str = ""
    at: float = 0.0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """An object and where it is declared. ``line`` 0: that is not known, and ``note`` says why.

    ``commit`` is the last one that changed the file, ``author`` and ``subject`` are its; without a commit ``author`` is
    whoever applied the file. ``at`` is seconds since 1970, ``location`` that of the source.
    """

    object: str
    key: str
    source: str | None = None
    location: str = ""
    file: str = ""
    line: int = 0
    commit: str = ""
    author: str = ""
    subject: str = ""
    at: float = 0.0
    note: str = ""
    values_in: tuple[ValuesIn, ...] = ()


class Provenance(msgspec.Struct, frozen=True):
    """All that is recorded, by source and key."""

    records: Mapping[tuple[str, str], DeclaredIn]
    values: Mapping[tuple[str, str], tuple[ValuesIn, ...]] = {}

    def origin(self, fleet: Fleet, key: str, stored: ConfigObject | None) -> Origin:
        """Where the object ``stored`` at ``key`` is declared."""
        name = label(key)
        if stored is None:
            return Origin(object=name, key=key, note="not declared")
        if stored.managed_by is None:
            return Origin(object=name, key=key, note="written to the store by another program; no source manages it")
        source = fleet.snapshot.sources.get(stored.managed_by)
        where = source.location if source else ""
        record = self.records.get((stored.managed_by, key.removeprefix(keys.CONFIG)))
        if record is None:
            note = "not recorded; sync does that with its next pass, if its token may write state/provenance/"
            return Origin(object=name, key=key, source=stored.managed_by, location=where, note=note)
        note = ""
        if not record.declared:
            note = "no longer declared; deleted a day after nothing wants it any more"
        elif source is not None and source.kind == "git" and not record.commit:
            note = "its commit was not found in time"
        return Origin(
            object=name,
            key=key,
            source=stored.managed_by,
            location=where,
            file=record.file,
            line=record.objects[key.removeprefix(keys.CONFIG)],
            commit=record.commit,
            author=record.author,
            subject=record.subject,
            at=record.at,
            note=note,
            values_in=self.values.get((stored.managed_by, key.removeprefix(keys.CONFIG)), ()),
        )


def read(store: Store) -> Provenance:
    """What is recorded now; what can't be read is left out."""
    records: dict[tuple[str, str], DeclaredIn] = {}
    values: dict[tuple[str, str], tuple[ValuesIn, ...]] = {}
    for entry in store.list(keys.PROVENANCE).entries:
        source = entry.key.removeprefix(keys.PROVENANCE).partition("/")[0]
        try:
            shard = decode(entry.value, ProvenanceShard, entry.key)
        except Undecodable:
            continue
        for record in sorted(shard.files, key=lambda each: each.declared):
            records |= {(source, key): record for key in record.objects}
            for key, line in record.values.items():
                values[source, key] = (*values.get((source, key), ()), _values_in(record, line))
    return Provenance(records, {key: tuple(sorted(each, key=lambda one: one.file)) for key, each in values.items()})


def _values_in(record: DeclaredIn, line: int) -> ValuesIn:
    return ValuesIn(
        file=record.file,
        line=line,
        commit=record.commit,
        author=record.author,
        subject=record.subject,
        at=record.at,
    )
