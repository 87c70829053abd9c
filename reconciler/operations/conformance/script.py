"""The parts of the script that concern placement and change; ``troubles`` has those in which something goes wrong.

Each part begins with the same world (``base``), changes it, waits for what should come of it, and tells the ledger what
that proves. What is true of every step (min, max, places, records) is judged by the audits all the while.
"""

from typing import Final

from reconciler.model.manifests import Cluster, NamedPort, TaskDefinition
from reconciler.operations.conformance.declared import Declared, definition, service
from reconciler.operations.conformance.hosts import Behaviour
from reconciler.operations.conformance.picture import Picture
from reconciler.operations.conformance.stage import NoProgress, Stage

WEB: Final = "web"
OTHER: Final = "web-2"
"""Its name begins like an id of ``web``: whoever takes ids apart takes its tasks for those of ``web``."""
STUCK_S: Final = 4.0
QUIET_S: Final = 4.0
BIG: Final = 600
"""More than half of what a host has, so that one of these fits on each."""
FIXED_PORT: Final = 20500


def web(version: int) -> TaskDefinition:
    """The definition of the service that changes."""
    return definition(WEB, version, memory=100, cpu_units=100, provide_port=True)


def web_version(stage: Stage) -> int:
    """The version of it that is declared."""
    return max((version for name, version in stage.declared.definitions if name == WEB), default=1)


def world(stage: Stage) -> Declared:
    """Two services, each of which every part may change."""
    version = web_version(stage)
    empty = Declared(
        cluster=Cluster(name=stage.cluster, scheduler=stage.scheduler), definitions=stage.declared.definitions
    )
    return empty.with_service(service(WEB, 3, version=version, least=2, most=4), web(version)).with_service(
        service(OTHER, 1), definition(OTHER)
    )


def base(stage: Stage) -> None:
    """Bring everything to where each part begins. Raises NoProgress."""
    stage.behaviour = Behaviour()
    for host in stage.hosts.values():
        if host.name not in stage.picture.present:
            host.come()
    stage.declare(world(stage))
    if not stage.settle():
        undeclared = {task.service for task in stage.picture.tasks.values()} - stage.declared.services.keys()
        for name in undeclared:
            stage.ledger.broken("service-removed", f"it is declared no more: {stage.shown(name)}")
        names = {*stage.declared.services, *undeclared}
        shown = "; ".join(stage.shown(name) for name in sorted(names) if not stage.is_converged(name))
        raise NoProgress(f"the cluster did not come to rest within {stage.patience_s:g} s: {shown or 'it goes on'}")


def first_placement(stage: Stage) -> None:
    """The lock is taken, and what is declared is issued. Everything else rests on it."""
    for host in stage.hosts.values():
        host.come()
    stage.declare(world(stage))
    if not stage.until(lambda: bool((lock := stage.store.get(stage.lock_key)) and lock.holder)):
        text = f"nobody took {stage.lock_key} within {stage.patience_s:g} s"
        stage.ledger.broken("lock", f"{text}: does a scheduler called {stage.scheduler!r} run on this store?")
        raise NoProgress(text)
    is_done = stage.settle()
    shown = f"{stage.shown(WEB)}; {stage.shown(OTHER)}"
    stage.ledger.judge("first-placement", None if is_done else f"not as declared: {shown}", shown)
    if not is_done:
        raise NoProgress(f"not as declared within {stage.patience_s:g} s: {shown}")


def scale(stage: Stage) -> None:
    """Up, and down again."""
    version = web_version(stage)
    for desired, least in ((5, 2), (2, 1)):
        stage.change(service(WEB, desired, version=version, least=least, most=6))
        is_done, shown = stage.settle(), stage.shown(WEB)
        stage.ledger.judge("scale", None if is_done else f"desired is {desired}: {shown}", shown)


def update(stage: Stage) -> None:
    """A new version with room below and above, and one where min and max are the defaults."""
    for least, most in ((2, 4), (None, None)):
        version = web_version(stage) + 1
        stage.change(service(WEB, 3, version=version, least=least, most=most), web(version))
        is_done, shown = stage.settle(), stage.shown(WEB)
        stage.ledger.judge("rollout", None if is_done else f"version {version} is wanted: {shown}", shown)


def halt(stage: Stage) -> None:
    """A version whose tasks run and are critical; and the next one, which is good."""
    version, least = web_version(stage) + 1, 2
    stage.behaviour.sick = frozenset({(WEB, version)})
    stage.change(service(WEB, 3, version=version, least=least, most=4), web(version))

    def of_bad() -> int:
        return sum(task.task_version == version for task in stage.picture.of_service(WEB))

    if not stage.until(lambda: of_bad() > 0):
        stage.ledger.broken("halt", f"version {version} was not even tried: {stage.shown(WEB)}")
        return
    stage.watch(STUCK_S)
    healthy = len(stage.picture.healthy(WEB))
    text = f"version {version} is critical: {healthy} healthy ones are left, min is {least}, {of_bad()} are of it"
    stage.ledger.judge("halt", text if healthy < least else None, text)
    stage.change(service(WEB, 3, version=version + 1, least=least, most=4), web(version + 1))
    is_done, shown = stage.settle(), stage.shown(WEB)
    problem = f"version {version + 1} is wanted after one that was critical: {shown}"
    stage.ledger.judge("rollout", None if is_done else problem, shown)


def numbers(stage: Stage) -> None:
    """Tasks are taken back, stop slowly, and others are wanted meanwhile."""
    version = web_version(stage)
    stage.behaviour.stop_s = 3.0
    for desired in (4, 2, 4):
        stage.change(service(WEB, desired, version=version, least=1, most=6))
        is_done = stage.until(lambda: stage.is_converged(WEB))
        shown = stage.shown(WEB)
        stage.ledger.judge("scale", None if is_done else f"desired is {desired}: {shown}", shown)


def capacity(stage: Stage) -> None:
    """More than fits: by memory, by cpu, by a fixed port. And a new version where nothing can start first."""
    crowd = {
        "heavy": definition("heavy", memory=BIG),
        "busy": definition("busy", cpu_units=BIG),
        "fixed": definition("fixed", port=FIXED_PORT),
    }
    wanted, fits = len(stage.workers) + 1, len(stage.workers)
    declared = stage.declared
    for name, each in crowd.items():
        declared = declared.with_service(service(name, wanted, least=1, most=wanted), each)
    stage.declare(declared)
    stage.until(lambda: all(len(stage.picture.healthy(name)) >= fits for name in crowd))
    for name in crowd:
        shown = stage.shown(name)
        is_full = len(stage.picture.healthy(name)) >= fits
        stage.ledger.judge("fills", None if is_full else f"{fits} of {wanted} fit: {shown}", shown)
    quiet(stage, f"while {len(crowd)} tasks have no place")
    stage.behaviour.stop_s = 1.0
    for version in (1, 2):
        fixed = service("fixed", fits, version=version, least=fits - 1, most=fits)
        stage.change(fixed, definition("fixed", version, port=FIXED_PORT))
        is_done = stage.until(lambda: stage.is_converged("fixed"))
        shown = stage.shown("fixed")
        problem = f"port {FIXED_PORT} is taken on every host, min is {fits - 1} and max {fits}: {shown}"
        stage.ledger.judge("rollout", None if is_done else problem, shown)


def named_ports(stage: Stage) -> None:
    """A definition with several ports: provided ones, and a fixed one that each host has once."""
    ports = (NamedPort(name="http"), NamedPort(name="metrics"), NamedPort(name="dns", port=FIXED_PORT, protocol="udp"))
    wanted = len(stage.workers)
    declared = definition("ports", provide_port=True, ports=ports)
    stage.declare(stage.declared.with_service(service("ports", wanted, least=1, most=wanted), declared))
    is_done = stage.until(lambda: stage.is_converged("ports"))
    shown = stage.shown("ports")
    tasks = stage.picture.of_service("ports")
    if not tasks:
        stage.ledger.skip("named-ports", "it left the service alone, which it may if its documentation says so")
        return
    lacking = [task.id for task in tasks if len(set(task.held_ports)) != len(ports) + 1]
    problem = f"not every port of {', '.join(lacking)} has a number of its own" if lacking else None
    stage.ledger.judge("named-ports", problem or (None if is_done else f"{wanted} fit: {shown}"), shown)


def rest(stage: Stage) -> None:
    """Nothing changes, so nothing is written."""
    quiet(stage, "while all was as declared")


def quiet(stage: Stage, when: str) -> None:
    """Judge that nothing is written from a moment on when nothing has to be."""
    stage.watch(1.0)
    before = stage.picture
    stage.watch(QUIET_S)
    after = stage.picture
    moved = f"seq and index of the head went from {_head(before)} to {_head(after)} {when}"
    is_same = before.schedule == after.schedule
    stage.ledger.judge("quiescence", None if is_same else moved, f"nothing was written for {QUIET_S:g} s {when}")


def _head(picture: Picture) -> str:
    return f"{picture.head.seq if picture.head else 'none'} at {picture.head_index}"
