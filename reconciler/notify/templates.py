"""``${name}`` in what an operator wrote, replaced by what there is to tell. Pure.

Values go into the texts of JSON that was read already, or into a URL percent-encoded: so no commit's subject, and no
output of a check, can change what surrounds it.
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote

from reconciler.model.notifications import Happening
from reconciler.notify.message import Message, values

_TOKEN: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_]+)\}|\$\{")
_EXAMPLE: Final = values(Message(event=Happening.TEST, source="", revision=""))
IN_BODIES: Final = tuple(_EXAMPLE)
IN_LINKS: Final = ("source", "environment", "revision", "short", "event")


def faults(text: str, names: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a template that may use ``names``."""
    for token in _TOKEN.finditer(text):
        if token[0] == "${":
            yield "${ begins a name, and none follows; write ${name}, or $${ for ${"
        elif token["name"] and token["name"] not in names:
            yield f"${{{token['name']}}} is not known here; there are {', '.join(names)}"


def json_faults(text: str, names: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a JSON document whose texts may use ``names``."""
    try:
        read = json.loads(text, parse_constant=_no_constant)
        again = json.dumps(read, allow_nan=False)
    except RecursionError:
        yield "this JSON is nested too deeply"
        return
    except ValueError as error:
        yield f"this is not JSON: {error}; write `content: text` if it is meant to be plain text"
        return
    # texts are filled in after they are read, where \\u0024 is a $, too
    yield from faults(again, names)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is none of its numbers")


def filled(text: str, message: Message, escape: str) -> str:
    """A plain text with all values in their places."""
    return _filled(text, values(message), _escaper(escape))


def filled_json(text: str, message: Message, escape: str) -> bytes:
    """A JSON document, written anew, with all values in its texts; names of members stay."""
    told, escaped = values(message), _escaper(escape)

    def fill(value: Any) -> Any:
        match value:
            case str():
                return _filled(value, told, escaped)
            case list():
                return [fill(each) for each in value]
            case dict():
                return {name: fill(each) for name, each in value.items()}
        return value

    return json.dumps(fill(json.loads(text)), ensure_ascii=False).encode(errors="replace")


def filled_link(template: str, message: Message) -> str:
    """A URL with all values in their places."""
    told = {name: value for name, value in values(message).items() if name in IN_LINKS}
    return _filled(template, told, lambda value: quote(value, safe=""))


def _filled(text: str, told: Mapping[str, str], escaped: Callable[[str], str]) -> str:
    return _TOKEN.sub(lambda token: escaped(told[token["name"]]) if token["name"] else "${", text)


def _escaper(escape: str) -> Callable[[str], str]:
    return (lambda value: html.escape(value, quote=False)) if escape == "html" else str
