"""Reads whom a sync tells what became of revisions, with line and column of whatever is wrong in it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from reconciler.errors import UsageError
from reconciler.manifests.operator_file import Kind, read_operator_file
from reconciler.model.faults import Fault
from reconciler.model.notifications import Notifications

_KIND: Final = Kind(
    "file of notifications",
    "notifications",
    "reporting.md",
    frozenset({"token", "url", "secret_headers", "commit_statuses", "webhooks"}),
)


def read_notifications(path: Path, faults: Callable[[Notifications], Iterable[Fault]]) -> Notifications:
    """The notifications in a file; ``faults`` says what receivers have against them.

    Raises:
        UsageError: they are none, or the file can't be read; says every problem with its place.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    return read_operator_file(str(path), content, Notifications, _KIND, faults)
