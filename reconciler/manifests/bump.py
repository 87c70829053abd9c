"""The next version of a task definition, written into manifests as people keep them. Pure; for ``reconciler bump``.

Only the characters of the values change, at the places that the reader knows, so comments and layout stay as they are.
What came out is read again and must declare exactly what was meant; otherwise nothing is written.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from reconciler.errors import InvalidManifests, UsageError
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.load import Loaded, load
from reconciler.manifests.nodes import Node
from reconciler.manifests.overlays import identity
from reconciler.manifests.render import documents, patches_of
from reconciler.manifests.scope import environments_in
from reconciler.model.manifests import ConfigObject, DockerContainer, Service, TaskDefinition

_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"")
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:-]*[A-Za-z0-9]\Z")


class Edit(msgspec.Struct, frozen=True):
    """A value that was written anew: ``what`` in words."""

    file: str
    line: int
    column: int
    what: str
    old: str
    new: str


class Bump(msgspec.Struct, frozen=True, kw_only=True):
    """What changed: the new content of each changed file. ``left`` are services that run an older version still."""

    name: str
    before: int
    after: int
    edits: tuple[Edit, ...]
    files: dict[str, bytes]
    left: tuple[str, ...]


def bump(
    files: Sequence[tuple[str, bytes]],
    name: str,
    *,
    to: int | None = None,
    image: str | None = None,
    environment: str | None = None,
) -> Bump:
    """Give the newest version of the task definition ``name`` the number ``to`` (the next one by default).

    The services that run it follow. ``image`` is put into its only docker container. Where there are environments, all
    that have that version follow, or only the ``environment`` that is named; the others stay as they are.

    Raises:
        InvalidManifests: the files are invalid as they are.
        UsageError: there is no such definition, or it can't be done without changing more than was meant.
    """
    cache = ParseCache()
    names = environments_in(files, cache) or (None,)
    before = {each: load(files, cache=cache, environment=each) for each in names}
    chosen = names if environment is None else (environment,)
    loaded = [before.get(each) or load(files, cache=cache, environment=each) for each in chosen]
    for each in loaded:
        each.raise_if_invalid()
    for other, each in before.items():
        if not each.valid:
            raise InvalidManifests(
                "\n".join([f"environment {environment} is valid, and {other} is not:", *map(str, each.errors)]),
                hint="mend that first: what is invalid can't be seen to stay as it is; nothing was written",
            )
    definition = _newest(loaded, name)
    after = definition.version + 1 if to is None else to
    if after <= definition.version:
        raise UsageError(f"task definition {name!r} is at version {definition.version}, so {after} is not a newer one")
    meant = {
        each: _meant(before[each], name, definition.version, after, image) if each in chosen else _objects(before[each])
        for each in names
    }
    by_place: dict[tuple[str, int, int], Edit] = {}
    for edit in _edits(files, chosen, cache, definition, after, image):
        by_place.setdefault((edit.file, edit.line, edit.column), edit)  # a parameter stands in several places
    edits = tuple(by_place.values())
    made = {file: _apply(content, [edit for edit in edits if edit.file == file]) for file, content in files}
    for other, objects in meant.items():
        _make_sure(load([(file, made[file]) for file, _ in files], cache=cache, environment=other), objects, name)
    return Bump(
        name=name,
        before=definition.version,
        after=after,
        edits=edits,
        files={file: made[file] for file, content in files if made[file] != content},
        left=tuple(_left(loaded, definition)),
    )


def _objects(loaded: Loaded) -> list[ConfigObject]:
    return [each.object for each in loaded.objects]


def _left(loaded: Iterable[Loaded], definition: TaskDefinition) -> Iterable[str]:
    """The services that run another version."""
    services = (thing for each in loaded for thing in _objects(each) if isinstance(thing, Service))
    return dict.fromkeys(
        each.name for each in services if each.task_name == definition.name and each.task_version != definition.version
    )


def _newest(loaded: Iterable[Loaded], name: str) -> TaskDefinition:
    definitions = [thing for each in loaded for thing in _objects(each) if isinstance(thing, TaskDefinition)]
    named = [each for each in definitions if each.name == name]
    if not named:
        known = ", ".join(sorted({each.name for each in definitions})) or "none"
        raise UsageError(f"there is no task definition {name!r}", hint=f"declared are: {known}")
    return max(named, key=lambda each: each.version)


def _changed(definition: TaskDefinition, version: int, image: str | None) -> TaskDefinition:
    """The definition as it is meant to be."""
    containers = definition.containers
    if image is not None:
        docker = [each for each in containers if isinstance(each, DockerContainer)]
        if len(docker) != 1:
            raise UsageError(
                f"task definition {definition.name!r} has {len(docker) or 'no'} docker containers, "
                "so whose image it is can't be known",
                hint="bump without --image, and write the images by hand",
            )
        put = msgspec.structs.replace(docker[0], executor=msgspec.structs.replace(docker[0].executor, image=image))
        containers = tuple(put if each is docker[0] else each for each in containers)
    return msgspec.structs.replace(definition, version=version, containers=containers)


def _edits(
    files: Sequence[tuple[str, bytes]],
    environments: Iterable[str | None],
    cache: ParseCache,
    definition: TaskDefinition,
    after: int,
    image: str | None,
) -> Iterator[Edit]:
    """What is written anew, wherever its value stands: in a manifest, an overlay or a parameter."""
    changed = _changed(definition, after, image)
    old, new = str(definition.version), str(after)
    what = f"task definition {definition.name!r}"
    for environment in environments:
        for document in documents(files, environment, cache):
            for node in _listed(document, "task_definitions"):
                if (node.value["name"], node.value["version"]) == (definition.name, definition.version):
                    yield _edit(node.fields["version"], what, old, new)
                    yield from _image_edits(node, definition, changed)
            for node in _listed(document, "services"):
                if (node.value["task_name"], node.value["task_version"]) == (definition.name, definition.version):
                    yield _edit(node.fields["task_version"], f"service {node.value['name']!r}", old, new)
        for node in patches_of(files, environment, cache, "task_definitions"):
            if identity("task_definitions", node) == (definition.name, definition.version):
                yield _edit(node.fields["version"], what, old, new)


def _edit(node: Node, what: str, old: str, new: str) -> Edit:
    return Edit(node.file, node.line, node.column, what, old, new)


def _listed(document: Node, kind: str) -> list[Node]:
    return document.fields[kind].items if kind in document.fields else []


def _image_edits(node: Node, definition: TaskDefinition, changed: TaskDefinition) -> Iterator[Edit]:
    containers = zip(definition.containers, changed.containers, node.fields["containers"].items, strict=True)
    for before, after, where in containers:
        if before != after and isinstance(before, DockerContainer) and isinstance(after, DockerContainer):
            image = where.fields["executor"].fields["image"]
            what = f"image of container {before.name!r}"
            yield _edit(image, what, before.executor.image, after.executor.image)


def _apply(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The content with the edits made, from the last to the first."""
    if not edits:
        return content
    text = content.decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
    for edit in sorted(edits, key=lambda edit: (edit.line, edit.column), reverse=True):
        start = starts[edit.line - 1] + edit.column - 1
        text = _replaced(text, start, edit)
    return (mark + text).encode("utf-8")


def _replaced(text: str, start: int, edit: Edit) -> str:
    quoted = _QUOTED.match(text, start)
    if quoted and not edit.old.isdigit():
        quote = quoted[0][0]
        return f"{text[:start]}{quote}{edit.new}{quote}{text[quoted.end() :]}"
    if not text.startswith(edit.old, start):
        raise UsageError(
            f"{edit.file}:{edit.line}:{edit.column}: {edit.what} is not written as a plain {edit.old}",
            hint="change it by hand",
        )
    new = edit.new if _PLAIN.match(edit.new) or edit.new.isdigit() else f'"{edit.new}"'
    return f"{text[:start]}{new}{text[start + len(edit.old) :]}"


def _make_sure(after: Loaded, meant: Sequence[ConfigObject], name: str) -> None:
    """Raise UsageError unless the new files declare what was meant, and nothing else changed."""
    if not after.valid or _objects(after) != meant:
        problem = f": {after.errors[0]}" if after.errors else ""
        raise UsageError(
            f"task definition {name!r} can't be changed without changing something else as well{problem}",
            hint="values that are shared by an anchor (&name) must be written out first, and what environments share "
            "changes in all of them; nothing was written",
        )


def _meant(loaded: Loaded, name: str, before: int, after: int, image: str | None) -> list[ConfigObject]:
    """All objects of an environment as they are meant to be."""
    return [_one_meant(thing, name, before, after, image) for thing in _objects(loaded)]


def _one_meant(thing: ConfigObject, name: str, before: int, after: int, image: str | None) -> ConfigObject:
    if isinstance(thing, TaskDefinition) and (thing.name, thing.version) == (name, before):
        return _changed(thing, after, image)
    if isinstance(thing, Service) and (thing.task_name, thing.task_version) == (name, before):
        return msgspec.structs.replace(thing, task_version=after)
    return thing
