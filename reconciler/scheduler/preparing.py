"""What hosts fetch before an old task stops for a new one: which are asked, which have it, what is needed no more.

``stop_first`` and ``system_plan`` ask it before they stop what may be healthy, so that an image that can't be had costs
no task. Where the new task starts first there is nothing to prepare: it fetches while the old one serves.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.model.preparation import Preparation, Prepared
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Member
from reconciler.scheduler.steps import DropPreparation, Note, Prepare, Step

AHEAD: Final = 2
"""So many times as many hosts prepare as may stop a task at once, so that the next ones are ready in time."""
TRIES: Final = 3
"""When it could not be fetched on so many hosts, and nowhere else, no further host is asked."""


class Preparing:
    """The preparations of one service while its plan is made."""

    def __init__(self, view: ClusterView, service: str, members: Sequence[Member]) -> None:
        self._view = view
        self._service = service
        self._there = dict(sorted(view.preparations.get(service, {}).items()))
        self._wanted: dict[str, Defined] = {}
        # what runs was fetched
        self._has = {(each.task.host, each.task.digest) for each in members if each.standing in PERHAPS_HEALTHY}
        self._taken = {(each.task.host, each.task.digest) for each in members}

    def is_ready(self, host: str, defined: Defined) -> bool:
        """Whether a host has all that a task needs to start; as well, if its agent can't be asked to fetch it."""
        if not self._answers(host) or (host, defined.digest) in self._has:
            return True
        said = self._view.prepared(host, self._service)
        return said is not None and said.ready and said.digest == defined.digest

    def started(self, host: str, defined: Defined) -> None:
        """A task of it was issued to that host by this plan."""
        self._taken.add((host, defined.digest))

    def under_way(self, defined: Defined) -> list[str]:
        """The hosts that prepare it or have done so, where no task of it is yet; not those where it failed."""
        asked = [host for host in self._asked(defined) if (host, defined.digest) not in self._taken]
        failed = self.failed(defined)
        return [host for host in asked if host not in failed]

    def failed(self, defined: Defined) -> list[str]:
        """The hosts that can't fetch it, as far as they know now."""
        return [host for host in self._asked(defined) if _failed(self._view, self._there[host])]

    def keep(self, defined: Defined, hosts: Iterable[str]) -> None:
        """Leave the preparations on these hosts as they are."""
        for host in hosts:
            self._wanted.setdefault(host, defined)

    def ask(self, defined: Defined, hosts: Sequence[str], at_once: int) -> None:
        """Have these hosts prepare it, the first ones first, as many as are needed soon (``at_once`` stop together)."""
        has_it = {host for host, digest in self._has if digest == defined.digest}
        lacking = [host for host in dict.fromkeys(hosts) if self._answers(host) and host not in has_it]
        asked, failed = set(self._asked(defined)), self.failed(defined)
        going = [host for host in lacking if host in asked]
        room = AHEAD * at_once - len([host for host in going if host not in failed])
        if len(failed) >= TRIES and not has_it:
            room = 0
        further = [host for host in lacking if host not in asked]
        for host in (*going, *further[: max(0, room)]):
            self._wanted.setdefault(host, defined)

    def waits(self, defined: Defined) -> Note | None:
        """What it waits for after all moves were planned, for people."""
        hosts = [host for host, each in self._wanted.items() if each == defined and not self.is_ready(host, defined)]
        if not hosts:
            return None
        if reason := why_not_prepared(self._view, self._service):
            return Note(service=self._service, reason=f"{reason}; nothing stops there before that is done")
        text = f"{_on(sorted(hosts))} {'fetches' if len(hosts) == 1 else 'fetch'} what {defined.label} needs"
        return Note(service=self._service, reason=f"{text} before an old task stops there", is_ordinary=True)

    def steps(self) -> list[Step]:
        """From what is asked for to what should be."""
        steps = []
        for host in sorted(self._there.keys() | self._wanted.keys()):
            there, wanted = self._there.get(host), self._wanted.get(host)
            if wanted is not None and (there is None or there.digest != wanted.digest):
                why = "it is fetched before an old task stops there"
                steps.append(Step(service=self._service, actions=(Prepare(self._of(host, wanted), why),)))
            elif there is not None and wanted is None:
                steps.append(Step(service=self._service, actions=(DropPreparation(there),)))
        return steps

    def _asked(self, defined: Defined) -> list[str]:
        """The hosts that were asked for it and can still answer."""
        return [host for host, each in self._there.items() if each.digest == defined.digest and self._answers(host)]

    def _answers(self, host: str) -> bool:
        """Whether its agent is there and knows what a preparation is."""
        found = self._view.hosts.get(host)
        return found is not None and found.present and found.state is not None and found.state.prepares

    def _of(self, host: str, defined: Defined) -> Preparation:
        return Preparation(
            cluster=self._view.name,
            service=self._service,
            host=host,
            task_name=defined.definition.name,
            task_version=defined.definition.version,
            digest=defined.digest,
        )


def why_not_prepared(view: ClusterView, service: str) -> str:
    """Which hosts can't fetch what they were asked for, and why, for people; empty: none says so."""
    reasons = {
        host: f"what {wanted.task_name} version {wanted.task_version} needs: {said.reason}"
        for host, wanted in sorted(view.preparations.get(service, {}).items())
        if (said := _failed(view, wanted))
    }
    return f"{_on(list(reasons))} can't fetch {next(iter(reasons.values()))}" if reasons else ""


def _failed(view: ClusterView, wanted: Preparation) -> Prepared | None:
    """What a host says of a preparation, if it failed."""
    said = view.prepared(wanted.host, wanted.service)
    return said if said and said.failed and said.digest == wanted.digest else None


def _on(hosts: Sequence[str]) -> str:
    return hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts, such as {hosts[0]},"
