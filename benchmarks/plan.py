"""How long one scheduling decision takes: a full cluster to place, and a converged one where nothing is to do."""

from functools import partial

import msgspec

from benchmarks.measure import measure
from reconciler.model.codec import digest
from reconciler.model.manifests import (
    Cluster,
    Constraint,
    DockerContainer,
    DockerExecutor,
    Host,
    Placement,
    Service,
    TaskDefinition,
)
from reconciler.model.names import task_id
from reconciler.model.task import (
    ClusterHead,
    Health,
    HostState,
    HostStatus,
    Phase,
    Rollout,
    RolloutPhase,
    Task,
    TaskStatus,
)
from reconciler.scheduler.cluster_view import Defined
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Snapshot, scene, view_of

SIZES = ((10, 20, 5), (100, 100, 10), (1000, 400, 20), (5000, 1000, 100), (5000, 2000, 100))
"""Hosts, services, tasks of each."""
ZONES, CLASSES = 3, 10


def fresh(hosts: int, services: int, desired: int) -> Snapshot:
    """A cluster that has just been declared, on empty hosts."""
    container = DockerContainer(name="web", executor=DockerExecutor(image="web"))
    definition = TaskDefinition(
        name="web", version=1, containers=(container,), provide_port=True, memory=64, cpu_units=64
    )
    names = [f"web-{number}" for number in range(services)]
    host_names = [f"host-{number}" for number in range(hosts)]
    states = {
        name: HostState(
            host=name, machine=name, address="10.0.0.1", memory=65536, cpu_units=32768, executors=("docker", "bash")
        )
        for name in host_names
    }
    return Snapshot(
        clusters={"default": Cluster(name="default", services=tuple(names))},
        services={name: Service(name=name, task_name="web", task_version=1, desired=desired) for name in names},
        definitions={("web", 1): Defined(definition, digest(definition))},
        host_configs={name: Host(name=name) for name in host_names},
        host_states=states,
        present=frozenset(host_names),
    )


def choosy(snapshot: Snapshot) -> Snapshot:
    """The same where each service rules out some hosts, in ten ways, and spreads over the zones of the others."""
    configs = {
        name: Host(name=name, tags={"zone": f"z{number % ZONES}", "class": f"c{number % CLASSES}"})
        for number, name in enumerate(snapshot.host_configs)
    }
    services = {
        name: msgspec.structs.replace(
            service,
            placement=Placement(
                constraints=(
                    Constraint(key="tag.class", operator="!=", value=f"c{number % CLASSES}"),
                    Constraint(key="tag.zone", operator="regex", value="z[0-9]"),
                ),
                spread_over="zone",
            ),
        )
        for number, (name, service) in enumerate(snapshot.services.items())
    }
    return msgspec.structs.replace(snapshot, host_configs=configs, services=services)


def converged(snapshot: Snapshot, desired: int) -> Snapshot:
    """The same when everything runs."""
    (defined,) = snapshot.definitions.values()
    hosts = list(snapshot.host_states)
    tasks = [
        Task(
            id=task_id("default", service, 1, instance),
            cluster="default",
            service=service,
            task_name="web",
            task_version=1,
            instance=instance,
            host=hosts[(number * desired + instance) % len(hosts)],
            port=20000 + (number * desired + instance) // len(hosts),
            issue=1,
            digest=defined.digest,
            issued_at=0.0,
            memory=64,
            cpu_units=64,
        )
        for number, service in enumerate(snapshot.services)
        for instance in range(desired)
    ]
    statuses: dict[str, dict[str, TaskStatus]] = {host: {} for host in hosts}
    for task in tasks:
        statuses[task.host][task.id] = TaskStatus(phase=Phase.RUNNING, issue=1, health=Health.PASSING, port=task.port)
    return Snapshot(
        clusters=snapshot.clusters,
        services=snapshot.services,
        definitions=snapshot.definitions,
        host_configs=snapshot.host_configs,
        host_states=snapshot.host_states,
        present=snapshot.present,
        tasks=tuple(tasks),
        statuses={host: HostStatus(host=host, tasks=each) for host, each in statuses.items()},
        heads={"default": ClusterHead(cluster="default", scheduler="default", seq=1)},
        rollouts={
            ("default", service): Rollout(
                cluster="default",
                service=service,
                target_task="web",
                target_version=1,
                target_digest=defined.digest,
                phase=RolloutPhase.COMPLETED,
            )
            for service in snapshot.services
        },
    )


def sorted_out(read: Snapshot) -> None:
    """What is done with all that was read, before anything is planned."""
    view_of(scene(read), "default")


def main() -> None:
    """Print the table."""
    for hosts, services, desired in SIZES:
        count = services * desired
        print(f"plan: {hosts} hosts, {services} services, {count} tasks")
        empty = fresh(hosts, services, desired)
        view = view_of(scene(empty), "default")
        issued = sum(len(step.actions) for step in plan(view, 0.0).steps)
        assert issued >= count, f"{issued} of {count} were placed"
        measure("place everything", partial(plan, view, 0.0), count=count, unit="tasks", runs=3)
        chosen = view_of(scene(choosy(empty)), "default")
        issued = sum(len(step.actions) for step in plan(chosen, 0.0).steps)
        assert issued >= count, f"{issued} of {count} were placed"
        text = "with constraints and spread"
        measure(text, partial(plan, chosen, 0.0), count=count, unit="tasks", runs=3)
        full = converged(empty, desired)
        measure("sort what was read", partial(sorted_out, full), runs=3)
        view = view_of(scene(full), "default")
        assert not plan(view, 0.0).steps
        measure("nothing to do", partial(plan, view, 0.0), count=count, unit="tasks", runs=3)


if __name__ == "__main__":
    main()
