"""The execution policy of this host: the operator's last word on what may start here. Called by ``loop`` and ``apply``.

The file is looked at before each plan, so that a change counts for whatever starts next. What runs is left alone.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from reconciler.agent.host_view import Unusable
from reconciler.errors import ExecutorError, UsageError
from reconciler.executors import host_policy
from reconciler.manifests.host_policy_file import read_host_policy
from reconciler.model.events import Event, Level
from reconciler.model.host_policy import HostPolicy, Violation
from reconciler.model.manifests import Container, TaskDefinition

log = logging.getLogger(__name__)

POLICY_FILE: Final = Path("/etc/reconciler/policy.yml")


class _Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says of definitions, by digest; ``refusals``: why not, of those that may not start."""

    policy: HostPolicy | None = None
    definitions: Mapping[str, TaskDefinition | Unusable] = {}
    verdicts: Mapping[str, str | None] = {}
    refusals: Mapping[str, str] = {}


class Guard:
    """The policy in ``path``; the defaults while there is no such file, unless it is ``required``."""

    def __init__(self, path: Path = POLICY_FILE, *, required: bool = False) -> None:
        """Raises UsageError when the file is no policy, with the line."""
        self._path = path
        self._required = required
        self._judged = _Judged()
        """Replaced as a whole: several threads ask."""
        self._stamp: tuple[int, int, int] | None = None
        self.policy = HostPolicy()
        self.problem: str | None = None
        """Why the file does not count as it is now; the policy is the last good one then."""
        self._load()

    def look(self) -> Event | None:
        """Read the file again if it has changed. Returns what to tell people, if there is news."""
        before, before_problem = self.policy, self.problem
        try:
            self._load()
        except UsageError as error:
            self.problem = f"the last good execution policy stays in force: {error.message}"
        if self.problem != before_problem and self.problem is not None:
            return self._news(self.problem, Level.WARNING)
        if self.policy != before or self.problem != before_problem:
            return self._news("this execution policy counts from now on", Level.INFO)
        return None

    def _news(self, message: str, level: Level) -> Event:
        return Event(loop="agent", subject=str(self._path), message=message, level=level)

    def refusals(self, definitions: Mapping[str, TaskDefinition | Unusable]) -> Mapping[str, str]:
        """Why definitions may not start here, by digest; those that may are not in it. Links are for ``require``."""
        policy, before = self.policy, self._judged
        if before.policy is policy and before.definitions is definitions:
            return before.refusals
        known = before.verdicts if before.policy is policy else {}
        verdicts = {
            digest: known[digest] if digest in known else self._refusal(definition, policy)
            for digest, definition in definitions.items()
            if not isinstance(definition, Unusable)
        }
        refusals = {digest: refusal for digest, refusal in verdicts.items() if refusal is not None}
        self._judged = _Judged(policy=policy, definitions=definitions, verdicts=verdicts, refusals=refusals)
        return refusals

    def require(self, container: Container) -> None:
        """Raises ExecutorError unless the container may start now, wherever links in its paths lead.

        A path on a file system that does not answer blocks: never called by the planner.
        """
        broken = host_policy.container_violations(container, self.policy, _real)
        if broken:
            raise ExecutorError(self._told(broken), permanent=True)

    def _refusal(self, definition: TaskDefinition, policy: HostPolicy) -> str | None:
        try:
            broken = host_policy.violations(definition, policy)
        except Exception as error:  # a defect in here must not keep everything else on this host from starting
            log.exception("task definition %s can't be judged", definition.name)
            return f"it can't be judged by this host's execution policy: {type(error).__name__}: {error}"
        return self._told(broken) if broken else None

    def _told(self, broken: list[Violation]) -> str:
        first = broken[0]
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        return f"{first.rule}: {first.text}{more}; in {self._path}, {first.remedy}"

    def _load(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp == self._stamp:
                return
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._stamp = None
            if self._required:
                raise UsageError(f"there is no file {self._path}", hint="for the defaults, write {} into it") from None
            return
        except OSError as error:
            self._stamp = None  # the same file counts again as soon as it can be read
            raise UsageError(f"{self._path} can't be read: {error.strerror}", hint="check its rights") from error
        self._stamp = stamp
        self._required = True  # a file that vanishes must not loosen anything
        self.policy = read_host_policy(str(self._path), content, host_policy.faults)
        self.problem = None


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"where {path!r} leads on this host can't be told: {error}", permanent=isinstance(error, ValueError)
        ) from None
