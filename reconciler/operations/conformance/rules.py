"""The rules that a scheduler of this store keeps, and the ledger of what was seen of each. Pure.

The ids are stable: ``--format json`` shows them, and ``docs/external-schedulers.md`` explains each.
"""

import enum
from collections import defaultdict
from typing import Final

import msgspec

RULES: Final = {
    "lock": "holds schedulers/<cluster> by a session before it writes anything",
    "fence": "writes nothing while somebody else holds the lock",
    "takeover": "goes on when the lock is free again, in whichever process",
    "both-records": "writes and deletes both records of a task in one transaction, with equal content",
    "record": "every record is what the schema says, with the id, digest and needs of its definition",
    "sequence": "moves the cluster's seq in every transaction; issue is that seq, and no id has one twice",
    "placement-sequence": "moves state/placement in every transaction that issues tasks",
    "instances": "gives no instance number that a record or a host's status still has",
    "first-placement": "issues what is declared",
    "scale": "follows desired up and down",
    "min": "never takes away a healthy task that min needs",
    "max": "never issues more tasks than max",
    "rollout": "brings a new version to all tasks",
    "halt": "goes no further with a version that does not become healthy",
    "memory": "never promises more memory than a host has, stopping tasks included",
    "cpu": "never promises more cpu_units than a host has, stopping tasks included",
    "ports": "gives no port twice on a host, stopping tasks included",
    "named-ports": "gives a task each named port of its definition, or leaves such services alone",
    "executors": "uses only hosts whose agent offers the executors",
    "fills": "places as many tasks as fit when not all do",
    "applying": "changes nothing voluntarily while a source is in the middle of a revision",
    "draining": "empties a host that drains, and gives it nothing new",
    "missing-host": "leaves alone what is on a host that is missing for a moment",
    "lost-host": "replaces what is on a host that stays away, and keeps the count when it is back",
    "service-removed": "stops the tasks of a service that is declared no more",
    "cluster-removed": "stops the tasks of a cluster that is declared no more",
    "quiescence": "writes nothing when there is nothing to do",
}

MOST_EVIDENCE: Final = 5


class Verdict(enum.StrEnum):
    """What the script found of a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TESTED = "not tested"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and its verdict. ``checks``: how often it was looked at; ``evidence``: keys and values that show it."""

    rule: str
    text: str
    verdict: Verdict
    checks: int
    evidence: tuple[str, ...]


class Ledger:
    """Collects what was seen of each rule. Whatever breaks a rule once has broken it."""

    def __init__(self) -> None:
        self._checks: dict[str, int] = defaultdict(int)
        self._kept: dict[str, str] = {}
        self._broken: dict[str, list[str]] = defaultdict(list)
        self._skipped: dict[str, str] = {}

    def kept(self, rule: str, evidence: str) -> None:
        """The rule was put to the test and kept; the last evidence is shown."""
        self._checks[_known(rule)] += 1
        self._kept[rule] = evidence

    def broken(self, rule: str, evidence: str) -> None:
        """The rule was broken."""
        self._checks[_known(rule)] += 1
        if evidence not in self._broken[rule]:
            self._broken[rule].append(evidence)

    def judge(self, rule: str, problem: str | None, evidence: str) -> None:
        """Broken with ``problem``, or kept with ``evidence``."""
        if problem is None:
            self.kept(rule, evidence)
        else:
            self.broken(rule, problem)

    def skip(self, rule: str, why: str) -> None:
        """The rule could not be put to the test."""
        self._skipped[_known(rule)] = why

    def findings(self) -> tuple[Finding, ...]:
        """All rules in their order."""
        return tuple(self._finding(rule, text) for rule, text in RULES.items())

    def _finding(self, rule: str, text: str) -> Finding:
        if broken := self._broken.get(rule):
            more = len(broken) - MOST_EVIDENCE
            evidence = (*broken[:MOST_EVIDENCE], *([f"and {more} more like these"] if more > 0 else []))
            verdict = Verdict.BROKEN
        elif rule in self._kept:
            verdict, evidence = Verdict.KEPT, (self._kept[rule],)
        else:
            verdict, evidence = (
                Verdict.NOT_TESTED,
                (self._skipped.get(rule, "nothing that happened put it to the test"),),
            )
        return Finding(rule=rule, text=text, verdict=verdict, checks=self._checks[rule], evidence=evidence)


def _known(rule: str) -> str:
    assert rule in RULES, rule
    return rule
