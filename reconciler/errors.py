"""Every error that this program raises on purpose.

::

    ReconcilerError                 something a person can act on; the command line prints it without a traceback
    ├── UsageError                  the call cannot be carried out as written (exit code 2)
    ├── InvalidManifests            manifests that break a rule; carries the problems (exit code 1)
    ├── RevisionRefused             a valid revision that may not be applied (brake, immutability, two owners)
    ├── SourceError                 git or the folder could not be read; nothing was concluded from it
    ├── ExecutorError               a container or process could not be started, stopped or looked at
    └── StoreError
        ├── StoreUnreachable        the request was certainly not carried out
        ├── StoreNoLeader           the store has no quorum now; reads tell nothing
        ├── StoreDenied             the token may not do this
        ├── StoreTooLarge           a value or transaction is over the store's limit
        └── StoreNotOurs            the sentinels are missing, differ, or the space is somebody else's

What a write may answer besides (committed, conflict, unknown) is a value, not an error:
see ``reconciler.store.interface.CommitResult``.
"""


class ReconcilerError(Exception):
    """Something a person can act on. ``hint`` says what to do next."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(ReconcilerError):
    """The call cannot be carried out as written."""


class InvalidManifests(ReconcilerError):
    """Manifests that break a rule; nothing of their revision is applied."""

    exit_code = 1


class RevisionRefused(ReconcilerError):
    """A valid revision that may not be applied as it is."""

    exit_code = 1


class SourceError(ReconcilerError):
    """A git repository or folder could not be read in full; nothing may be concluded from what was read."""


class UntrustedRevision(SourceError):
    """A revision that was read, and is not signed as it must be."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str, revision: str, author: str, subject: str) -> None:
        super().__init__(message, hint=hint)
        self.revision = revision
        self.author = author
        self.subject = subject


class ExecutorError(ReconcilerError):
    """A container or process could not be started, stopped or looked at.

    ``permanent`` errors (no such image, bad flag) are not retried quickly: trying again changes nothing.
    """

    def __init__(self, message: str, *, hint: str | None = None, permanent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent


class StoreError(ReconcilerError):
    """The store did not do what was asked."""


class StoreUnreachable(StoreError):
    """The request was certainly not carried out (no connection could be made)."""


class StoreNoLeader(StoreError):
    """The store has no leader or quorum now: its reads tell nothing and it takes no writes."""


class StoreDenied(StoreError):
    """The token given may not do this. A denied read is never an empty one."""


class StoreTooLarge(StoreError):
    """A value or transaction is over the store's limits."""


class StoreNotOurs(StoreError):
    """The sentinels ``config/.store`` and ``state/.store`` are missing or differ, so nothing may be concluded."""
