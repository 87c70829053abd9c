"""The language of the scenario texts: commands that change a small world, and what is printed of the plans.

A text is prose (``#``), commands, and after ``----`` the lines that they print, up to an empty line. README.md beside
the texts lists the commands for their readers.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from reconciler.model import codec
from reconciler.model.manifests import Cluster, Constraint, Host, Placement, Service
from reconciler.model.overrides import (
    ClusterOverride,
    Drained,
    HostOverride,
    Paused,
    Rebalanced,
    Restarted,
    Scaled,
    ServiceOverride,
    Verdict,
)
from reconciler.model.source_state import SourceCounts, SourceState, SyncMark
from reconciler.model.task import Health, Phase
from reconciler.scheduler import balance, snapshot
from reconciler.scheduler.plan import plan
from reconciler.scheduler.steps import (
    Action,
    Amend,
    DropPreparation,
    DropRollout,
    Issue,
    Plan,
    Prepare,
    RemoveHead,
    SaveRollout,
    Step,
    Withdraw,
)
from tests.support.scheduler_world import World, definition, replace, state

MOST_ROUNDS = 30
SOON_S = 301.0
"""What is due later is not printed: the deadline that every rollout has would stand in every plan."""


class Block(msgspec.Struct):
    """Commands, and the lines that they are said to print (None: nothing is said)."""

    source: list[str]
    expected: list[str] | None = None


def read(text: str) -> list[Block]:
    """Cut a text into blocks."""
    blocks, current, in_output = [], Block([]), False
    for line in text.splitlines():
        if in_output and line.strip():
            assert current.expected is not None
            current.expected.append(line)
        elif in_output:
            blocks.append(current)
            current, in_output = Block([]), False
        elif line.strip() == "----":
            current.expected, in_output = [], True
        else:
            current.source.append(line)
    if current.source or current.expected is not None:
        blocks.append(current)
    return blocks


def write(blocks: Iterable[Block]) -> str:
    """The text of blocks."""
    parts = []
    for block in blocks:
        lines = list(block.source)
        if block.expected is not None:
            lines += ["----", *block.expected]
        parts.append("\n".join(lines).strip("\n"))
    return "\n\n".join(part for part in parts if part) + "\n"


def replay(path: Path) -> list[Block]:
    """The blocks of a text with what really is printed."""
    script, answer = Script(), []
    for block in read(path.read_text(encoding="utf-8")):
        printed = [line for command in block.source for line in script.run(command)]
        answer.append(Block(block.source, printed if printed or block.expected is not None else None))
    return answer


class Script:
    """Runs commands on a world of its own."""

    def __init__(self) -> None:
        self.world = World()

    def run(self, line: str) -> list[str]:
        """One line of a text; the lines that it prints."""
        words = shlex.split(line, comments=True)
        if not words:
            return []
        name = words[0]
        if name == "remove":
            name = f"remove {words.pop(1)}"
        command = self.commands.get(name)
        if command is None:
            raise ValueError(f"no such command: {line}")
        fields = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        arguments = [word for word in words[1:] if "=" not in word]
        return command(self, arguments, {key: _value(key, text) for key, text in fields.items()}) or []

    def host(self, names: list[str], fields: dict[str, Any]) -> None:
        for name in names:
            self.world.host_states[name] = state(name, **fields)
            self.world.present.add(name)

    def host_config(self, names: list[str], fields: dict[str, Any]) -> None:
        for name in names:
            known = self.world.host_configs.get(name, Host(name=name))
            self.world.host_configs[name] = replace(known, **fields)

    def definition(self, words: list[str], fields: dict[str, Any]) -> None:
        name, version = words[0], int(words[1])
        if fields.get("checks") == "none":
            fields["checks"] = ()
        self.world.definitions[name, version] = definition(name, version, **fields)

    def service(self, words: list[str], fields: dict[str, Any]) -> None:
        fields = {{"task": "task_name", "version": "task_version"}.get(key, key): each for key, each in fields.items()}
        for name in words:
            known = self.world.services.get(name) or Service(name=name, task_name=name, task_version=1, desired=1)
            self.world.services[name] = replace(known, **fields)

    def rollout(self, words: list[str], fields: dict[str, Any]) -> None:
        for name in words:
            known = self.world.services[name]
            self.world.services[name] = replace(known, rollout=replace(known.policy, **fields) if fields else None)

    def placement(self, words: list[str], fields: dict[str, Any]) -> None:
        found = [_constraint(key, text) for key, text in fields.items() if "." in key or key == "name"]
        rest = {key: each for key, each in fields.items() if not ("." in key or key == "name")}
        block = Placement(constraints=tuple(found), **rest) if fields else None
        for name in words:
            self.world.services[name] = replace(self.world.services[name], placement=block)

    def cluster(self, words: list[str], fields: dict[str, Any]) -> None:
        name, *services = words
        self.world.clusters[name] = Cluster(name=name, services=tuple(services), **fields)

    def source(self, words: list[str], fields: dict[str, Any]) -> None:
        name, how = words
        mark = SyncMark(
            settled=how == "settled",
            revision=fields.pop("revision", "r1"),
            to=None if how == "settled" else "r2",
            counts=SourceCounts(**fields),
        )
        self.world.sources[name] = SourceState(source=name, kind="git", location="git.example.com/fleet", mark=mark)

    def remove(self, kind: str, key: Any) -> None:
        del getattr(self.world, kind)[key]

    def gone(self, names: list[str], _: dict[str, Any]) -> None:
        self.world.present -= set(names)

    def back(self, names: list[str], _: dict[str, Any]) -> None:
        self.world.present |= set(names)

    def forget(self, names: list[str], _: dict[str, Any]) -> None:
        for name in names:
            del self.world.host_states[name]
            self.world.statuses.pop(name, None)

    def wait(self, words: list[str], _: dict[str, Any]) -> None:
        # an observer looks now and then, so it looks before and after
        self.world.snapshot()
        self.world.now += float(words[0].removesuffix("s"))

    def failover(self, _: list[str], __: dict[str, Any]) -> None:
        self.world.failover()

    def override(self, words: list[str], fields: dict[str, Any]) -> None:
        """What operators say; by anna, now."""
        world, (verb, *names) = self.world, words
        until = world.now + fields.pop("for_s") if "for_s" in fields else 0.0
        said = {"by": "anna", "since": world.now, "until": until}
        better = self._better_elsewhere(names, **fields) if verb == "rebalance" else []
        for name in names:
            match verb:
                case "scale" | "stop":
                    desired = fields.get("desired", 0)
                    scaled = Scaled(desired=desired, declared=world.services[name].desired, **said)
                    self._of_service(name, scaled=scaled)
                case "start":
                    self._of_service(name, scaled=None)
                case "restart":
                    issued = {cluster: head.seq for cluster, head in world.heads.items()}
                    self._of_service(name, restarted=Restarted(issued=issued, **said))
                case "rebalance":
                    mine = {each.task: each.issue for each in better if each.service == name}
                    self._of_service(name, rebalanced=Rebalanced(tasks=mine, **said))
                case "promote" | "abort":
                    service = world.services[name]
                    defined = world.definitions[service.task_name, service.task_version]
                    verdict = Verdict(
                        promote=verb == "promote",
                        target_version=defined.version,
                        target_digest=codec.digest(defined),
                        **said,
                    )
                    self._of_service(name, verdict=verdict)
                case "pause":
                    world.cluster_overrides[name] = ClusterOverride(cluster=name, paused=Paused(**said))
                case "unpause":
                    del world.cluster_overrides[name]
                case "drain" | "undrain":
                    declared = world.host_configs.get(name, Host(name=name)).draining
                    deadline = world.now + fields["deadline_s"] if "deadline_s" in fields else 0.0
                    drained = Drained(draining=verb == "drain", declared=declared, deadline=deadline, **said)
                    world.host_overrides[name] = HostOverride(host=name, drained=drained)
                case _:
                    raise ValueError(f"no such override: {verb}")

    def _better_elsewhere(self, services: list[str], at_most: int = 20) -> list[balance.Move]:
        """As ``reconciler rebalance`` finds them."""
        world = self.world
        scene = snapshot.scene(world.snapshot())
        views = [snapshot.view_of(scene, cluster) for cluster in world.clusters]
        plans = [(view, plan(view, world.now)) for view in views]
        return list(balance.find(scene.hosts, plans, services, at_most).moves)

    def _of_service(self, name: str, **fields: Any) -> None:
        known = self.world.service_overrides.get(name, ServiceOverride(service=name))
        self.world.service_overrides[name] = replace(known, **fields)

    def agents(self, words: list[str], _: dict[str, Any]) -> None:
        assert words[0] in ("run", "stop"), words
        if words[0] == "stop":
            for host in self.world.present:
                self.world.end_withdrawn(host)
        else:
            self.world.run_agents()

    def fetch(self, words: list[str], fields: dict[str, Any]) -> None:
        for name in words:
            self.world.cannot_fetch[name] = str(fields.get("fails", ""))
            self.world.prepare(name)

    def status(self, phase: Phase, health: Health, words: list[str]) -> None:
        self.world.set_status(words[0], phase, health, " ".join(words[1:]))

    def outdated(self, words: list[str], _: dict[str, Any]) -> None:
        self.world.outdate(words[0], " ".join(words[1:]))

    def sentinel(self, words: list[str], _: dict[str, Any]) -> None:
        self.world.sentinel = " ".join(words) or None

    def unreadable(self, words: list[str], _: dict[str, Any]) -> None:
        self.world.unreadable[words[0]] = f"{words[0]} in the store can't be read"

    def plan(self, words: list[str], _: dict[str, Any]) -> list[str]:
        lines: list[str] = []
        for cluster in words or sorted({*self.world.clusters, *self.world.heads}):
            planned = self.world.plan(cluster)
            self.world.carry_out(cluster, planned.steps) if planned.steps else None
            lines += show(planned)
        self.world.mark_stopping()
        return lines

    def converge(self, _: list[str], __: dict[str, Any]) -> list[str]:
        """Plans and agents in turn until nothing moves any more."""
        lines: list[str] = []
        before: list[str] = []
        for number in range(1, MOST_ROUNDS):
            moves = any(self.world.plan(cluster).steps for cluster in {*self.world.clusters, *self.world.heads})
            printed = self.plan([], {})
            if not moves and printed == before:
                return lines
            lines += [f"{number}. {line}" for line in printed]
            if printed == ["nothing"]:
                return lines
            before = printed
            self.world.run_agents()
        return [*lines, "it does not end"]

    commands: ClassVar[dict[str, Callable[..., list[str] | None]]] = {
        "host": host,
        "host_config": host_config,
        "definition": definition,
        "service": service,
        "placement": placement,
        "rollout": rollout,
        "override": override,
        "cluster": cluster,
        "source": source,
        "remove host_config": lambda self, words, _: self.remove("host_configs", words[0]),
        "remove definition": lambda self, words, _: self.remove("definitions", (words[0], int(words[1]))),
        "remove service": lambda self, words, _: self.remove("services", words[0]),
        "remove cluster": lambda self, words, _: self.remove("clusters", words[0]),
        "remove source": lambda self, words, _: self.remove("sources", words[0]),
        "gone": gone,
        "back": back,
        "forget": forget,
        "wait": wait,
        "failover": failover,
        "agents": agents,
        "fetch": fetch,
        "healthy": lambda self, words, _: self.status(Phase.RUNNING, Health.PASSING, words),
        "unhealthy": lambda self, words, _: self.status(Phase.RUNNING, Health.CRITICAL, words),
        "unknown": lambda self, words, _: self.status(Phase.RUNNING, Health.UNKNOWN, words),
        "starting": lambda self, words, _: self.status(Phase.STARTING, Health.UNKNOWN, words),
        "complete": lambda self, words, _: self.status(Phase.COMPLETE, Health.UNKNOWN, words),
        "failed": lambda self, words, _: self.status(Phase.FAILED, Health.UNKNOWN, words),
        "rejected": lambda self, words, _: self.status(Phase.REJECTED, Health.UNKNOWN, words),
        "outdated": outdated,
        "sentinel": sentinel,
        "unreadable": unreadable,
        "plan": plan,
        "converge": converge,
    }


def _constraint(key: str, text: str) -> Constraint:
    """``tag.zone=a``, ``tag.zone=!=a``, ``tag.zone="in a,b"``, ``name="regex h[12]"``."""
    if text.startswith("in "):
        return Constraint(key=key, operator="in", values=tuple(text[3:].split(",")))
    if text.startswith("regex "):
        return Constraint(key=key, operator="regex", value=text[6:])
    return Constraint(key=key, operator="!=" if text.startswith("!=") else "=", value=text.removeprefix("!="))


def _value(key: str, text: str) -> Any:
    if key in ("executors", "apart_from"):
        return tuple(text.split(","))
    if key in ("tags", "attributes"):
        return dict(each.split(":", 1) for each in text.split(",") if each)
    if key == "port_range":
        first, last = text.split("-")
        return int(first), int(last)
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


def show(planned: Plan) -> list[str]:
    """A plan as an operator reads it."""
    lines = [line for step in planned.steps for line in _step(step)]
    if planned.hold:
        lines.append(f"hold: {planned.hold}")
    if planned.release:
        lines.append("release: another scheduler is named")
    if planned.brake:
        lines.append(f"brake: {planned.brake}")
    lines += [f"pending: {each.count} of {each.service} version {each.task_version}: {each.reason}"
              for each in planned.pending]  # fmt: skip
    lines += [f"note: {each.service}: {each.reason}" for each in planned.notes]
    if planned.look_again_s is not None and planned.look_again_s < SOON_S:
        lines.append(f"look again in {planned.look_again_s:.0f} s")
    return lines or ["nothing"]


def _step(step: Step) -> Iterator[str]:
    issues = [action for action in step.actions if isinstance(action, Issue)]
    is_pair = len(issues) == 1 and any(isinstance(action, Withdraw) for action in step.actions)
    for action in step.actions:
        match action:
            case Withdraw(task=old) if is_pair:
                new = issues[0].task
                yield f"replace {old.id} on {old.host} by {new.id} on {new.host}: {issues[0].why}"
            case Issue() if is_pair:
                pass
            case _:
                yield _action(action)


def _action(action: Action) -> str:
    match action:
        case Issue(task=task, why=why):
            return f"start {task.id} on {task.host}{f' port {task.port}' if task.port else ''}: {why}"
        case Withdraw(task=task, why=why):
            return f"stop {task.id} on {task.host}: {why}"
        case Amend(task=task, why=why):
            return f"amend {task.id} on {task.host}: {why}"
        case Prepare(preparation=wanted, why=why):
            return f"prepare {wanted.task_name} version {wanted.task_version} on {wanted.host}: {why}"
        case DropPreparation(preparation=over):
            return f"forget what {over.host} prepared for {over.service}"
        case SaveRollout(rollout=rollout):
            reason = f" ({rollout.reason})" if rollout.reason else ""
            done = f", {rollout.done} done" if rollout.done else ""
            return f"rollout of {rollout.service} to version {rollout.target_version}: {rollout.phase}{done}{reason}"
        case DropRollout(service=service):
            return f"forget the rollout of {service}"
        case RemoveHead():
            return "forget the cluster"
