"""What is sent to each kind of receiver, as the makers of the APIs document it. Pure.

GitHub: https://docs.github.com/rest/commits/statuses. GitLab: https://docs.gitlab.com/api/commits/. Gitea and Forgejo:
``/api/swagger`` of any of them.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from urllib3 import HTTPHeaderDict

from reconciler.model.notifications import Webhook
from reconciler.model.texts import cut
from reconciler.notify import templates
from reconciler.notify.git_hosts import Api
from reconciler.notify.message import Message

_STATES: Final[dict[str, dict[str, str]]] = {
    "github": {"pending": "pending", "success": "success", "failure": "failure", "superseded": "error"},
    "gitlab": {"pending": "pending", "success": "success", "failure": "failed", "superseded": "canceled"},
    "gitea": {"pending": "pending", "success": "success", "failure": "failure", "superseded": "warning"},
}
_DESCRIPTION_CHARACTERS: Final = {"github": 140, "gitlab": 255, "gitea": 255}
LINK_CHARACTERS: Final = 255
"""GitLab takes no longer one, so none is sent."""


class Request(msgspec.Struct, frozen=True):
    """A POST. ``secrets`` are parts of it that nobody may be shown."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    secrets: tuple[str, ...] = ()


def commit_status(api: Api, context: str, ref: str, message: Message, token: str) -> Request:
    """The status of a commit. ``ref`` is the branch that is followed, empty if none is named."""
    text = cut(message.description, _DESCRIPTION_CHARACTERS[api.provider])
    said: dict[str, Any] = {"state": _STATES[api.provider][message.state], "description": text}
    if message.link and len(message.link) <= LINK_CHARACTERS:
        said["target_url"] = message.link
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    match api.provider:
        case "github":
            said["context"] = context
            headers |= {
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "Authorization": f"Bearer {token}",
            }
        case "gitlab":
            said["name"] = context
            if ref:
                said["ref"] = ref
            headers["PRIVATE-TOKEN"] = token
        case _:
            said["context"] = context
            headers["Authorization"] = f"token {token}"
    return Request(api.statuses(message.revision), headers, msgspec.json.encode(said), (token,))


def webhook(settings: Webhook, message: Message, url: str, secret_headers: Mapping[str, str]) -> Request:
    """What an operator has written, with all values in their places."""
    if settings.content == "json":
        body, kind = templates.filled_json(settings.body, message, settings.escape), "application/json"
    else:
        body, kind = templates.filled(settings.body, message, settings.escape).encode(), "text/plain; charset=utf-8"
    headers = HTTPHeaderDict({"Content-Type": kind})  # which knows a name however it is written
    for name, value in (*settings.headers.items(), *secret_headers.items()):
        headers[name] = value
    return Request(url, dict(headers), body, (url, *secret_headers.values()))
