"""The next version of a task definition, written into manifests as people keep them. Pure; for ``reconciler bump``.

Only the characters of the values change, at the places that the reader knows, so comments and layout stay as they are.
What came out is read again and must declare exactly what was meant; otherwise nothing is written.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests.load import Loaded, load
from reconciler.manifests.nodes import Node
from reconciler.manifests.parsed import FileKind, kind_of
from reconciler.manifests.yaml_reader import read
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


def bump(files: Sequence[tuple[str, bytes]], name: str, *, to: int | None = None, image: str | None = None) -> Bump:
    """Give the newest version of the task definition ``name`` the number ``to`` (the next one by default).

    The services that run it follow. ``image`` is put into its only docker container.

    Raises:
        InvalidManifests: the files are invalid as they are.
        UsageError: there is no such definition, or it can't be done without changing more than was meant.
    """
    loaded = load(files)
    loaded.raise_if_invalid()
    definition = _newest(loaded, name)
    after = definition.version + 1 if to is None else to
    if after <= definition.version:
        raise UsageError(f"task definition {name!r} is at version {definition.version}, so {after} is not a newer one")
    changed = _changed(definition, after, image)
    checked = set(loaded.names)
    edits = list(dict.fromkeys(_edits([each for each in files if each[0] in checked], definition, changed)))
    made = {file: _apply(content, [edit for edit in edits if edit.file == file]) for file, content in files}
    _make_sure(loaded, load([(file, made[file]) for file, _ in files]), definition, changed)
    return Bump(
        name=name,
        before=definition.version,
        after=after,
        edits=tuple(edits),
        files={file: made[file] for file, content in files if made[file] != content},
        left=tuple(
            each.object.name
            for each in loaded.objects
            if isinstance(each.object, Service)
            and each.object.task_name == name
            and each.object.task_version != definition.version
        ),
    )


def _newest(loaded: Loaded, name: str) -> TaskDefinition:
    definitions = [each.object for each in loaded.objects if isinstance(each.object, TaskDefinition)]
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


def _edits(files: Iterable[tuple[str, bytes]], definition: TaskDefinition, changed: TaskDefinition) -> Iterator[Edit]:
    old, new = str(definition.version), str(changed.version)
    for file, content in files:
        kind = kind_of(file)
        for document in read(content, is_json=kind is FileKind.JSON).documents:
            for node in _listed(document, "task_definitions"):
                if (node.value["name"], node.value["version"]) == (definition.name, definition.version):
                    version = node.fields["version"]
                    yield Edit(file, version.line, version.column, f"task definition {definition.name!r}", old, new)
                    yield from _image_edits(file, node, definition, changed)
            for node in _listed(document, "services"):
                if (node.value["task_name"], node.value["task_version"]) == (definition.name, definition.version):
                    version = node.fields["task_version"]
                    yield Edit(file, version.line, version.column, f"service {node.value['name']!r}", old, new)


def _listed(document: Node, kind: str) -> list[Node]:
    return document.fields[kind].items if kind in document.fields else []


def _image_edits(file: str, node: Node, definition: TaskDefinition, changed: TaskDefinition) -> Iterator[Edit]:
    containers = zip(definition.containers, changed.containers, node.fields["containers"].items, strict=True)
    for before, after, where in containers:
        if before != after and isinstance(before, DockerContainer) and isinstance(after, DockerContainer):
            image = where.fields["executor"].fields["image"]
            what = f"image of container {before.name!r}"
            yield Edit(file, image.line, image.column, what, before.executor.image, after.executor.image)


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


def _make_sure(before: Loaded, after: Loaded, definition: TaskDefinition, changed: TaskDefinition) -> None:
    """Raise UsageError unless the new files declare what was meant, and nothing else changed."""
    meant = [_meant(each.object, definition, changed) for each in before.objects]
    if not after.valid or [each.object for each in after.objects] != meant:
        problem = f": {after.errors[0]}" if after.errors else ""
        raise UsageError(
            f"task definition {definition.name!r} can't be changed without changing something else as well{problem}",
            hint="values that are shared by an anchor (&name) must be written out first; nothing was written",
        )


def _meant(thing: ConfigObject, definition: TaskDefinition, changed: TaskDefinition) -> ConfigObject:
    if thing == definition:
        return changed
    if isinstance(thing, Service) and (thing.task_name, thing.task_version) == (definition.name, definition.version):
        return msgspec.structs.replace(thing, task_version=changed.version)
    return thing
