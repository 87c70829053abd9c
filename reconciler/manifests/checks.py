"""What is checked beside our own rules, given by whoever calls ``load``: policies, and what executors know.

Manifests and executors do not know each other, so the flags that docker takes come in as a function.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.rules import Severity

if TYPE_CHECKING:
    from reconciler.manifests.host_policy_rules import HostCheck

FlagCheck: TypeAlias = Callable[[Sequence[str]], list[str]]
"""What is wrong with flags of ``docker run``, each as one sentence that begins with the flag."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's rule, made by ``policy``. ``schema`` is the JSON text of it, so that the value stays immutable."""

    code: str
    kind: str
    severity: Severity
    title: str
    hint: str
    schema: str


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """Additional checks. ``docker_flags`` must give the same answer in every process of one version of the program."""

    docker_flags: FlagCheck | None = None
    policies: tuple[Policy, ...] = ()
    host_policies: "tuple[HostCheck, ...]" = ()

    @property
    def codes(self) -> frozenset[str]:
        """The rules that are checked, by code; a comment that ignores another one is not called unused."""
        codes = {policy.code for policy in self.policies} | rules.RULES.keys()
        unasked = {rules.DOCKER_FLAG.code: not self.docker_flags, rules.HOST_POLICY.code: not self.host_policies}
        return frozenset(code for code in codes if not unasked.get(code))

    @property
    def digest(self) -> bytes:
        """Differs when something else is checked: what was remembered then does not count."""
        digest = hashlib.sha256(b"flags" if self.docker_flags else b"")
        for policy in self.policies:
            digest.update(msgspec.msgpack.encode(policy))
        for host in self.host_policies:
            digest.update(msgspec.msgpack.encode((host.file, host.policy)))
        return digest.digest()


NO_CHECKS = Checks()
