"""The answers of ``reconciler explain`` as text, for a terminal 80 columns wide."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reconciler.cli import output
from reconciler.cli.status import about_source
from reconciler.model.task import Decision, Rollout
from reconciler.queries.explain import Answer
from reconciler.queries.explain_host import HostAnswer, Resource
from reconciler.queries.explain_service import ServiceAnswer, ServiceInCluster, Unplaced
from reconciler.queries.explain_task import TaskAnswer
from reconciler.queries.provenance import Origin, ValuesIn
from reconciler.queries.status import SourceRow
from reconciler.queries.tasks import TaskRow
from reconciler.scheduler.proving import GOES_ON
from reconciler.scheduler.steps import Refusal

WIDTH: Final = 80
MOST_REASONS: Final = 100
"""So many different reasons of hosts are shown; ``--format json`` has them all."""


def lines(answer: Answer) -> Iterator[str]:
    """Line by line, sections set apart by empty ones."""
    if isinstance(answer, ServiceAnswer):
        yield from _service(answer)
    elif isinstance(answer, TaskAnswer):
        yield from _task(answer)
    else:
        yield from _host(answer)


def _service(answer: ServiceAnswer) -> Iterator[str]:
    yield f"service {answer.name}"
    yield from _origins(answer.origins, answer.sources)
    for each in answer.clusters:
        yield from _in_cluster(each)
    if not answer.clusters:
        yield from _section("Tasks", ["none: no cluster lists the service"])


def _in_cluster(each: ServiceInCluster) -> Iterator[str]:
    state = "as it should be" if each.ok else "not as it should be"
    counts = f"{each.desired} desired (min {each.min}, max {each.max}), {each.issued} issued, {each.healthy} healthy"
    if each.kind == "batch":
        counts = f"{each.done} of {each.desired} done, {each.issued} issued"
    elif each.current != each.healthy:
        counts += f", {each.current} of them of the wanted version"
    yield from _section(f"In cluster {each.cluster}", [f"{state}: {counts}"])
    if each.rollout is not None:
        yield from _text(_rollout(each.rollout))
    for reason in each.waits_for:
        yield from _text(f"- {reason}", "    ")
    if each.tasks:
        yield from _section("Tasks", [])
        for row in each.tasks:
            yield from _row(row)
    yield from _unplaced(each.unplaced)
    yield from _decisions(each.decisions)


def _task(answer: TaskAnswer) -> Iterator[str]:
    yield f"task {answer.id}"
    if answer.issued:
        yield from _origins(answer.origins, answer.sources)
    yield from _section("State", [])
    ended = "" if answer.exit_code is None else f", exit code {answer.exit_code}"
    yield from _text(
        f"{answer.phase} on {answer.host}, health {answer.health}{_since(answer.since)}, "
        f"attempt {answer.attempt}{ended}"
    )
    if answer.reason:
        yield from _text(answer.reason, indent="    ")
    if answer.outdated:
        yield from _text(f"outdated: {answer.outdated}", indent="    ")
    if not answer.issued:
        yield from _text("its record is gone: it is not wanted any more, and holds its place until it has ended")
    else:
        ports = output.ports(answer.port, answer.ports, answer.published)
        port = f", {'ports' if answer.ports or answer.published else 'port'} {ports}" if ports else ""
        yield from _text(f"promised {answer.memory} MiB of memory and {answer.cpu_units} cpu_units{port}")
        if not answer.is_wanted:
            yield from _text(f"version {answer.task_version} is not (or no longer) what service {answer.service} wants")
    if answer.failed_on:
        yield from _text(f"{answer.retries} before it failed in a row, last on {', '.join(answer.failed_on)}")
    none = f"the last decisions of cluster {answer.cluster} do not reach back to it" if answer.issued else ""
    yield from _decisions(answer.decisions, title="Why there" if answer.issued else "Decisions", none=none)
    if answer.other_hosts or answer.with_room:
        yield from _section("Other hosts, as they are now", [])
    if answer.with_room:
        yield from _text(f"{', '.join(answer.with_room)}: has room", "    ")
    yield from _refusals(answer.other_hosts)


def _host(answer: HostAnswer) -> Iterator[str]:
    yield f"host {answer.name}"
    yield from _origins(answer.origins, answer.sources)
    agent = f"agent {answer.agent_version or '?'} at {answer.address}" if answer.reported else "no agent yet"
    state = "gone" if not answer.present else "draining" if answer.draining else "ok"
    yield from _section("State", [f"{state}, {agent}"])
    for reason in answer.waits_for:
        yield from _text(f"- {reason}", "    ")
    if answer.reported:
        yield from _text(_resource("memory", answer.memory, " MiB"))
        yield from _text(_resource("cpu_units", answer.cpu_units, ""))
        yield from _text(_resource("disk", answer.disk, " MiB"))
        first, last = answer.port_range
        yield from _text(f"ports {first}-{last}, executors {', '.join(answer.executors) or 'none'}")
    for name, values in (("tags", answer.tags), ("attributes", answer.attributes)):
        if values:
            yield from _text(f"{name} {', '.join(f'{key}={value}' for key, value in sorted(values.items()))}")
    for note in answer.notes:
        yield from _text(f"its agent says: {note}", "    ")
    if answer.tasks or answer.leaving:
        yield from _section("Tasks", [])
    for row in answer.tasks:
        yield from _row(row, where=f"version {row.task_version}")
    for left in answer.leaving:
        yield from _text(f"{left.id}  {left.phase}, no longer issued{_since(left.since)}")
    if answer.refused:
        yield from _section("Finds no place anywhere, and not here because", [])
    for each in answer.refused:
        what = f"{each.service} version {each.task_version} in cluster {each.cluster}"
        yield from _text(f"{_tasks(each.count)} of {what}: {each.reason}", "    ")


def _origins(origins: Sequence[Origin], sources: Sequence[SourceRow]) -> Iterator[str]:
    yield from _section("Declared in", [])
    for each in origins:
        yield from _text(
            f"{each.object}: {each.file}:{each.line}" if each.line else f"{each.object}: {each.note}", "    "
        )
        yield from _made_by(each)
        for values in each.values_in:
            yield from _text(f"with values from {values.file}:{values.line}", "      ", indent="    ")
            yield from _made_by(values, indent="      ")
        if each.line and each.note:
            yield from _text(each.note, indent="    ")
    for row in sources:
        yield from _text(f"source {row.source}: {row.location}", "    ")
        if row.seen != row.revision and not row.ok:
            yield from _text(f"! revision {row.seen[:12]} is not applied, but {row.revision[:12]}", indent="    ")
        for said in about_source(row):
            yield from _text(f"! {said}", indent="    ")


def _made_by(each: Origin | ValuesIn, indent: str = "    ") -> Iterator[str]:
    if each.commit:
        yield from _text(f"commit {each.commit[:12]} by {each.author}{_ago(each.at)}: {each.subject}", indent=indent)
    elif each.author:
        yield from _text(f"applied by {each.author}{_ago(each.at)}", indent=indent)


def _rollout(rollout: Rollout) -> str:
    before = f" from {rollout.previous_version}" if rollout.previous_version is not None else ""
    why = f": {rollout.reason}" if rollout.reason else ""
    # since when it goes on, or when that came to its end
    at = _since(rollout.since) if rollout.phase in GOES_ON else _ago(rollout.since)
    return f"rollout to version {rollout.target_version}{before}: {rollout.phase}{at}{why}"


def _row(row: TaskRow, where: str = "") -> Iterator[str]:
    attempt = f", attempt {row.attempt}" if row.attempt > 1 else ""
    yield from _text(f"{row.id}  {where or row.host}  {row.phase}, {row.health}{_since(row.since)}{attempt}", "    ")
    if row.reason:
        yield from _text(row.reason, indent="    ")


def _unplaced(found: Sequence[Unplaced]) -> Iterator[str]:
    for each in found:
        yield from _section(f"{_tasks(each.count)} of {each.task_name} version {each.task_version} without a place", [])
        if each.hosts:
            yield from _refusals(each.hosts)
        else:
            yield from _text("there is no host: start an agent with `reconciler agent`")


def _refusals(hosts: Iterable[Refusal]) -> Iterator[str]:
    """Hosts that say no for the very same reason stand together."""
    by_reason: dict[str, list[str]] = {}
    for each in hosts:
        by_reason.setdefault(each.reason, []).append(each.host)
    for reason, names in list(by_reason.items())[:MOST_REASONS]:
        yield from _text(f"{', '.join(names)}: {reason}", "    ")
    left = sum(map(len, list(by_reason.values())[MOST_REASONS:]))
    if left:
        yield from _text(f"and {left} hosts more: --format json has them all")


def _decisions(decisions: Sequence[Decision], *, title: str = "Decisions", none: str = "") -> Iterator[str]:
    if decisions or none:
        yield from _section(title, [] if decisions else [none])
    for each in decisions:
        why = f": {each.why}" if each.why else ""
        yield from _text(f"{output.ago(each.at)} ago  {each.what}{why}", "    ")


def _resource(name: str, found: Resource, unit: str) -> str:
    percent = f" ({found.overcommit_percent} % of the rest may be promised)" if found.overcommit_percent != 100 else ""
    return (
        f"{name}: {found.total}{unit} in all, {found.reserved} reserved{percent}, {found.used} promised to tasks, "
        f"{max(0, found.free)} free"
    )


def _section(title: str, texts: Sequence[str]) -> Iterator[str]:
    yield ""
    yield title
    for text in texts:
        yield from _text(text)


def _text(text: str, hanging: str = "", *, indent: str = "  ") -> Iterator[str]:
    """Wrapped between words only, so that ids and paths can be copied; line breaks of a program's output stay.

    ``hanging``: the indentation of all lines but the first, if it is another.
    """
    first = indent
    for line in text.splitlines():
        yield from textwrap.wrap(
            line,
            WIDTH,
            initial_indent=first,
            subsequent_indent=hanging or indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        first = hanging or indent


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _since(at: float) -> str:
    return f" for {output.ago(at)}" if at else ""


def _ago(at: float) -> str:
    return f", {output.ago(at)} ago" if at else ""
