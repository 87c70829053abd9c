"""What is checked beside our own rules, given by whoever calls ``load``: operators' policies, and what executors know.

Manifests and executors do not know each other, so the flags that docker takes come in as a function.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.policy import Policy

FlagCheck: TypeAlias = Callable[[Sequence[str]], list[str]]
"""What is wrong with flags of ``docker run``, each as one sentence that begins with the flag."""


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """Additional checks. ``docker_flags`` must give the same answer in every process of one version of the program."""

    docker_flags: FlagCheck | None = None
    policies: tuple[Policy, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        """The rules that are checked, by code; a comment that ignores another one is not called unused."""
        codes = {policy.code for policy in self.policies} | rules.RULES.keys()
        return frozenset(codes if self.docker_flags else codes - {rules.DOCKER_FLAG.code})

    @property
    def digest(self) -> bytes:
        """Differs when something else is checked: what was remembered then does not count."""
        digest = hashlib.sha256(b"flags" if self.docker_flags else b"")
        for policy in self.policies:
            digest.update(msgspec.msgpack.encode(policy))
        return digest.digest()


NO_CHECKS = Checks()
