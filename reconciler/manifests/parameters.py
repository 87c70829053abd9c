"""``${NAME}`` in manifests of an environment, replaced by the values of its parameters. Pure; called by ``layers``.

Only declared names are ever replaced. Where a shell may read the text, any other ``${…}`` is the shell's and stays; in
all other fields it is a mistake. ``$${`` stands for ``${`` as it is.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.field_names import closest
from reconciler.manifests.nodes import Node, with_fields, with_items
from reconciler.manifests.object_rules import MAX_OBJECT_BYTES
from reconciler.manifests.problem import Problem, problem_at

SHELL_FIELDS: Final = frozenset({"setup", "start", "stop", "script", "cmd", "entry"})
"""What a shell may read: there ``${NAME}`` has a meaning of its own."""
_NUMBER_LISTS: Final = frozenset({"port_range"})
"""In all other lists the items are text."""
_TOKEN: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_NOWHERE: Final = 0
"""The line of what lacks a parameter's value: ``load`` shows no problem there, since that is one itself."""
MOST_IN_ALL: Final = 64 * 1024 * 1024
"""How many characters the values may add to texts of an environment together."""


class Parameters(msgspec.Struct, frozen=True):
    """The values of an environment's parameters; ``unknown`` are those whose value is missing or wrong."""

    values: Mapping[str, Node]
    unknown: frozenset[str]


class Filling:
    """The objects of an environment being filled in, one after the other. ``problems`` is what is wrong."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.problems: list[Problem] = []
        self._left = 0
        self._left_in_all = MOST_IN_ALL

    def filled_in(self, node: Node) -> Node:
        """The object at ``node`` with all values in their places."""
        self._left = min(MAX_OBJECT_BYTES, self._left_in_all)
        before = self._left
        made = self.fill(node, "", in_shell=False)
        self._left_in_all -= before - max(self._left, 0)
        if self._left < 0 and before == MAX_OBJECT_BYTES:
            self._too_large(node, f"the values of parameters make this larger than {MAX_OBJECT_BYTES >> 10} KB")
        elif self._left < 0 < before:
            self._too_large(
                node, f"the values of parameters add more than {MOST_IN_ALL >> 20} MB to all objects together"
            )
        return made

    def fill(self, node: Node, field: str, *, in_shell: bool) -> Node:
        """The node as it is if nothing in it changes."""
        if node.fields:
            fields = {
                name: self.fill(child, name, in_shell=in_shell or name in SHELL_FIELDS)
                for name, child in node.fields.items()
            }
            if all(fields[name] is child for name, child in node.fields.items()):
                return node
            return with_fields(node, fields)
        if node.items:
            items = [self.fill(child, f"{field}[]", in_shell=in_shell) for child in node.items]
            if all(after is before for after, before in zip(items, node.items, strict=True)):
                return node
            return with_items(node, items)
        if isinstance(node.value, str) and "${" in node.value:
            return self.scalar(node, node.value, field, in_shell=in_shell)
        return node

    def scalar(self, node: Node, text: str, field: str, *, in_shell: bool) -> Node:
        """A text that holds ``${``."""
        whole = _TOKEN.fullmatch(text)
        value_node = self.parameters.values.get(whole["name"] or "") if whole else None
        if value_node is not None and self._has_room(value_node):
            is_text = field.endswith("[]") and field.removesuffix("[]") not in _NUMBER_LISTS

            value_node = msgspec.structs.replace(value_node, key_file=node.file)
            return msgspec.structs.replace(value_node, value=_text(value_node), text=None) if is_text else value_node
        is_unknown = False
        used: dict[str, Node] = {}

        def value(token: "re.Match[str]") -> str:
            nonlocal is_unknown
            name = token["name"]
            if token[0] == "$${":
                return "${"
            if name in self.parameters.values:
                used[name] = self.parameters.values[name]
                if self._has_room(used[name]):
                    return _text(used[name])
                is_unknown = True
                return ""
            if name in self.parameters.unknown:
                is_unknown = True
            elif not in_shell:
                self.refuse(node, name)
                is_unknown = True
            return token[0]

        made = _TOKEN.sub(value, text)
        if is_unknown:
            return Node(_NOWHERE, _NOWHERE, made, file=node.file)
        # a problem with it is one of what is written here: the value alone is right
        others = tuple((each.file, each.line) for each in used.values())
        return Node(node.line, node.column, made, file=node.file, others=others)

    def _has_room(self, value: Node) -> bool:
        """Whether a value may be filled in once more; false from then on."""
        self._left -= len(_text(value))
        return self._left >= 0

    def _too_large(self, node: Node, message: str) -> None:
        self.problems.append(problem_at(rules.OBJECT_TOO_LARGE, node, message, "use shorter values, or fewer of them"))

    def refuse(self, node: Node, name: str | None) -> None:
        """Note a name that is not declared, or something that is no name."""
        if name is None:
            message = "${ begins the name of a parameter, and none follows"
            self.problems.append(problem_at(rules.PARAMETER_UNDECLARED, node, message, "write ${NAME}, or $${ for ${"))
            return
        guess = closest(name, [*self.parameters.values, *self.parameters.unknown])
        hint = f"did you mean ${{{guess}}}?" if guess else None
        message = f"${{{name}}} is not a declared parameter"
        self.problems.append(problem_at(rules.PARAMETER_UNDECLARED, node, message, hint))


def _text(node: Node) -> str:
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if isinstance(node.value, float) and node.text:
        return node.text
    return str(node.value)
