"""Whom the operator of a sync tells what became of revisions: commit statuses at the git server, and webhooks.

``schemas/notifications.json`` says the same for editors. Who reads the file is ``manifests.notifications_file``, who
tells is ``notify``. The file holds no secret: it says where each of them is.
"""

import enum
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.fields import Duration, Name, Object, Text

SecretPlace: TypeAlias = Annotated[
    str, Meta(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\n]*)$(?!\n)", max_length=1024)
]
"""``env:NAME`` or ``file:/path``."""
BaseUrl: TypeAlias = Annotated[str, Meta(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?)?$(?!\n)")]
Repository: TypeAlias = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+|[0-9]+)?$(?!\n)", max_length=255)
]
StatusContext: TypeAlias = Annotated[str, Meta(pattern=r"^([!-~]([ -~]*[!-~])?)?$(?!\n)", max_length=100)]
LinkTemplate: TypeAlias = Annotated[str, Meta(pattern=r"^(https?://[!-~]+)?$(?!\n)", max_length=1024)]
AbsolutePath: TypeAlias = Annotated[str, Meta(pattern=r"^(/[^\n]*)?$(?!\n)")]
HeaderName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$(?!\n)")]
HeaderValue: TypeAlias = Annotated[str, Meta(pattern=r"^[ -~]*$(?!\n)", max_length=1024)]
Told: TypeAlias = Literal["started", "healthy", "refused", "failed", "taken_back", "superseded"]
Provider: TypeAlias = Literal["auto", "github", "gitlab", "gitea"]


class Happening(enum.StrEnum):
    """What can happen to a revision. ``TEST`` is what an operator sends to try a receiver."""

    STARTED = "started"
    """It is applied, and the services that it changes are on their way."""
    HEALTHY = "healthy"
    REFUSED = "refused"
    FAILED = "failed"
    """It is applied, and what it changes was given up or does not become healthy."""
    TAKEN_BACK = "taken_back"
    """An earlier one is applied in its place, by the gate or by an operator."""
    SUPERSEDED = "superseded"
    """Another one was applied before it was healthy."""
    TEST = "test"


class CommitStatus(Object, frozen=True, kw_only=True):
    """A status of each commit at its git server. What is empty follows from the repository that sync reads."""

    token: SecretPlace
    name: Name = "commit-status"
    provider: Provider = "auto"
    url: BaseUrl = ""
    repository: Repository = ""
    context: StatusContext = ""
    ca_file: AbsolutePath = ""
    timeout: Duration = "10s"


class Webhook(Object, frozen=True, kw_only=True):
    """A request to any URL, with a body of one's own. ``events`` empty: all of them."""

    name: Name
    url: SecretPlace
    body: Text
    content: Literal["json", "text"] = "json"
    headers: dict[HeaderName, HeaderValue] = msgspec.field(default_factory=dict)
    secret_headers: dict[HeaderName, SecretPlace] = msgspec.field(default_factory=dict)
    events: tuple[Told, ...] = ()
    escape: Literal["none", "html"] = "none"
    ca_file: AbsolutePath = ""
    timeout: Duration = "10s"


class Notifications(Object, frozen=True, kw_only=True):
    """The content of the file. ``link`` is where people find more, with ``${…}`` filled in."""

    link: LinkTemplate = ""
    commit_statuses: tuple[CommitStatus, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
