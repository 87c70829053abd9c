"""Reads YAML and JSON into nodes that know their place. The only file that imports ``yaml``; called by ``load``.

It takes libyaml's events and builds the nodes without recursion, so that nothing a file holds can crash or hang it:
nesting, aliases and size are bounded, and every trap is a problem with a line. Tags are refused, so nothing in a file
ever makes an object of a chosen class.
"""

from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec
import yaml

from reconciler.errors import UsageError
from reconciler.manifests import rules, syntax_errors
from reconciler.manifests.file_text import Unreadable, text_of
from reconciler.manifests.ignores import Comment, comments
from reconciler.manifests.nodes import Node, describe
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.rules import Rule
from reconciler.manifests.scalars import resolve

STRING_TAG: Final = "tag:yaml.org,2002:str"
MAX_DEPTH: Final = 64
MAX_ALIAS_NODES: Final = 100_000
"""How many values the aliases of a document may stand for together."""
MAX_PROBLEMS: Final = 500
"""More than these of one file are not looked for: nobody reads them, and a hostile file has millions."""


class Read(msgspec.Struct, frozen=True):
    """What a file holds: its documents as far as they could be read (empty ones left out), and what is wrong.

    ``complete`` False: the file could not be read to its end, so it may declare more. ``comments`` are those to us.
    """

    documents: tuple[Node, ...]
    problems: tuple[Problem, ...]
    complete: bool
    comments: tuple[Comment, ...] = ()


class _Frame(msgspec.Struct, eq=False):
    """A mapping or list that is being read. ``key`` is the one whose value comes next, if it is a mapping's turn."""

    node: Node
    is_mapping: bool
    anchor: str | None
    key: "_Key | None" = None


class _Key(msgspec.Struct, eq=False):
    """A key whose value comes next; ``text`` None: the key is no good, so its value is passed over."""

    text: str | None
    line: int
    column: int


def read(content: bytes, *, is_json: bool = False) -> Read:
    """The documents in ``content``. The problems carry no file name yet: the same content may stand in several files.

    Raises:
        UsageError: PyYAML came without libyaml; its slow twin would not say so, and reports other places.
    """
    reader = _Reader(is_json)
    complete = False
    try:
        reader.compose(text_of(content, is_json=is_json))
        complete = True
    except Unreadable as unreadable:
        reader.problems.append(unreadable.problem)
    if not reader.documents and not reader.problems:
        reader.note(rules.NOTHING_DECLARED, 1, 1, "this file declares nothing")
    return Read(tuple(reader.documents), tuple(reader.problems), complete, tuple(reader.comments))


class _Reader:
    """Builds the nodes of one file from libyaml's events."""

    def __init__(self, is_json: bool) -> None:
        self.is_json = is_json
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self.comments: list[Comment] = []
        self.anchors: dict[str, Node | None] = {}
        self.alias_nodes = 0
        self.stack: list[_Frame] = []

    def note(self, rule: Rule, line: int, column: int, message: str, hint: str | None = None) -> None:
        """Note a problem and go on."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem(rule, "", line, column, message, hint))

    def compose(self, text: str) -> None:
        """Read all documents; raises Unreadable where that is not possible any more."""
        self.comments = [] if self.is_json else comments(text)
        try:
            for event in _events(text):
                self.take(event)
                if self.comments and isinstance(event, yaml.ScalarEvent):
                    self.leave_out_comments_in(event)
        except yaml.MarkedYAMLError as error:
            found = syntax_errors.explain(error, text)
            _stop(found.rule, found.line, found.column, found.message, found.hint)
        except yaml.YAMLError as error:
            _stop(rules.BAD_SYNTAX, 1, 1, f"this is not YAML: {error}")

    def take(self, event: Any) -> None:
        """One event of libyaml."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            node = self.scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = node
            self.attach(node)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self.open(event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            frame = self.stack.pop()
            if frame.anchor:
                self.anchors[frame.anchor] = frame.node
            self.attach(frame.node)
        elif kind is yaml.AliasEvent:
            self.attach(self.alias(event))
        elif kind is yaml.DocumentStartEvent:
            self.anchors = {}
            self.alias_nodes = 0

    def leave_out_comments_in(self, event: yaml.ScalarEvent) -> None:
        """What looks like a comment inside of a text is none."""
        begin: Any = event.start_mark
        end: Any = event.end_mark
        start, stop = (begin.line + 1, begin.column + 1), (end.line + 1, end.column + 1)
        self.comments = [each for each in self.comments if not start <= (each.line, each.column) < stop]

    def scalar(self, event: yaml.ScalarEvent) -> Node:
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if event.tag is not None:
            self.refuse_tag(event)
        if not event.style and event.tag != STRING_TAG:
            value = resolve(event.value)
            if self.is_json and isinstance(value, str):
                self.note(rules.NOT_JSON, line, column, f"this is not JSON: it knows no {value[:20]}")
            return Node(line, column, value, event.value)
        if "\0" in event.value:
            self.note(rules.CONTROL_CHARACTER, line, column, "this text holds a NUL character, which no program takes")
        return Node(line, column, event.value)

    def open(self, event: yaml.CollectionStartEvent) -> None:
        line, column = _place(event)
        if len(self.stack) >= MAX_DEPTH:
            _stop(rules.TOO_DEEP, line, column, f"this is nested more than {MAX_DEPTH} levels deep")
        if event.tag is not None:
            self.refuse_tag(event)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.anchor:
            self.anchors[event.anchor] = None  # not complete: an alias to it inside of it would be endless
        self.stack.append(_Frame(Node(line, column, {} if is_mapping else []), is_mapping, event.anchor))

    def refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        name = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        hint = "put the value in quotes instead" if event.tag == STRING_TAG else None
        self.note(rules.TAG, *_place(event), f"the tag {name[:60]} is not read: manifests hold plain values only", hint)

    def alias(self, event: yaml.AliasEvent) -> Node:
        name = str(event.anchor)
        target = self.anchors.get(name)
        if target is None:
            if name in self.anchors:
                _stop(rules.BAD_ALIAS, *_place(event), f"the alias *{name} stands inside of what it names")
            _stop(rules.BAD_ALIAS, *_place(event), f"the alias *{name} has no anchor &{name} before it")
        self.alias_nodes += target.size
        if self.alias_nodes > MAX_ALIAS_NODES:
            message = f"the aliases of this document stand for more than {MAX_ALIAS_NODES} values"
            _stop(rules.TOO_MANY_ALIASES, *_place(event), message)
        return target

    def attach(self, node: Node) -> None:
        """Put a complete node where it belongs: into the document, a list, or a mapping as its next key or value."""
        if not self.stack:
            if node.value is not None:
                self.documents.append(node)
            return
        frame = self.stack[-1]
        into = frame.node
        if not frame.is_mapping:
            into.items.append(node)
            into.value.append(node.value)
        elif frame.key is None:
            frame.key = self.key(node, into)
            return
        else:
            key, frame.key = frame.key, None
            if key.text is None:
                return
            into.fields[key.text] = node
            into.value[key.text] = node.value
            into.keys[key.text] = (key.line, key.column)
        into.size += node.size

    def key(self, node: Node, into: Node) -> _Key:
        """The key that ``node`` is, which may be no good."""
        line, column = node.line, node.column
        if node.text == "<<":
            self.note(rules.MERGE_KEY, line, column, "merge keys (<<) are not read: YAML 1.2 has them no more")
        elif isinstance(node.value, str):
            if node.value not in into.keys:
                return _Key(node.value, line, column)
            first = into.keys[node.value][0]
            message = f"{node.value!r} stands here a second time, first in line {first}"
            self.note(rules.DUPLICATE_KEY, line, column, message)
        elif node.text is None:
            self.note(rules.KEY_NOT_TEXT, line, column, "a list or mapping can't be a key", "write a text")
        elif node.text == "":
            self.note(rules.KEY_NOT_TEXT, line, column, "a key is missing here", "write the field's name")
        else:
            message = f"the key {node.text} is read as {describe(node.value)}"
            self.note(rules.KEY_NOT_TEXT, line, column, message, f'put it in quotes: "{node.text}"')
        return _Key(None, line, column)


def _events(text: str) -> Iterator[Any]:
    if not yaml.__with_libyaml__:
        raise UsageError(
            "PyYAML is installed without libyaml, so it would read YAML eight times slower and report other places",
            hint="install PyYAML's wheel (pip install --force-reinstall --only-binary :all: PyYAML), "
            "or libyaml's headers before building it",
        )
    loader = yaml.CSafeLoader(text)
    try:
        while True:
            event = loader.get_event()
            yield event
            if isinstance(event, yaml.StreamEndEvent):
                return
    finally:
        loader.dispose()


def _place(event: yaml.Event) -> tuple[int, int]:
    """Line and column of an event, from 1."""
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def _stop(rule: Rule, line: int, column: int, message: str, hint: str | None = None) -> NoReturn:
    raise Unreadable(problem(rule, "", line, column, message, hint))
