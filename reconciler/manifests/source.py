"""What sync asks of the place where manifests come from. Two exist: git repositories and folders.

A source hands out revisions: everything that is declared at one moment, or an error. It never hands out a part, since
what is missing from a revision gets deleted.
"""

from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""No manifest is larger; whatever is would only fill the memory."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """All manifests of a source as they were at one moment.

    ``id`` names that moment (a commit; for a folder, the hash of its contents). ``content`` is equal when ``files``
    are. ``files`` maps paths, as people know them, to contents; names that can't be printed are escaped.
    """

    id: str
    content: str
    files: Mapping[str, bytes]
    author: str = ""
    subject: str = ""
    committed_at: float = 0.0
    """When it was made, by its author's clock; for display."""
    rewritten: bool = False
    """The branch or tag was moved to something that does not follow from what it named when last looked at."""
    passed_over: tuple[str, ...] = ()
    """Links and submodules that are never followed, although manifests could stand behind them."""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The commit that changed a file last, its author and first line, and when it was made by the author's clock."""

    id: str
    author: str
    subject: str
    at: float


class Source(Protocol):
    """Called by one thread, but for ``wait`` and ``wake`` (any thread)."""

    @property
    def name(self) -> str:
        """The source's own name: what ``managed_by`` says."""

    @property
    def kind(self) -> str:
        """``git`` or ``directory``."""

    @property
    def environment(self) -> str | None:
        """Which of the environments that are declared there is meant; None: none is."""

    @property
    def location(self) -> str:
        """Where it is and which part of it is meant, for people; holds no secret."""

    def read(self) -> Revision:
        """What is declared now; looks anew each time, but does no work twice for what has not changed.

        Raises SourceError when not everything could be read: then nothing is concluded.
        """

    def at(self, revision: str) -> Revision | None:
        """An earlier revision as it was; None if it can't be had any more."""

    def follows(self, revision: str, earlier: str) -> bool | None:
        """Whether a revision that was read is ``earlier`` or comes after it; None: ``earlier`` is not known here.

        Where revisions have no order (a folder), what is there now always comes after.
        """

    def last_changes(self, revision: str, files: Collection[str], timeout_s: float) -> Mapping[str, Commit]:
        """The commits that made files of a revision what they are; those that can't be found in time are left out."""

    def wait(self, timeout_s: float) -> bool:
        """Block until there may be a new revision (True), or the time is over (False)."""

    def wake(self) -> None:
        """Somebody says that there is a new revision: ``wait`` returns True."""

    def close(self) -> None:
        """Let go of processes and watches; ``wait`` returns."""


def shown(name: str) -> str:
    """A file's name as text that can be printed and stored; file systems and git allow any bytes."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
