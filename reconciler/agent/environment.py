"""The environment that every container of a task starts with (``docs/manifests.md`` lists it for users). Pure."""

from reconciler.model.manifests import Check, Container, TaskDefinition
from reconciler.model.names import check_id, env_name
from reconciler.model.task import Task


def environment(task: Task, definition: TaskDefinition, container: Container, address: str) -> dict[str, str]:
    """What the task is, where it is reached and how it reports, and the container's own variables on top."""
    variables = {
        "RECONCILER_TASK_ID": task.id,
        "RECONCILER_CLUSTER": task.cluster,
        "RECONCILER_SERVICE": task.service,
        "RECONCILER_VERSION": str(task.task_version),
        "RECONCILER_INSTANCE": str(task.instance),
        "RECONCILER_ISSUE": str(task.issue),
        "RECONCILER_HOST": task.host,
        "RECONCILER_ADDRESS": address,
    }
    if task.port:
        port = str(task.port)
        variables |= {"RECONCILER_PORT": port, "PORT": port, "SCHEDULED_PORT": port}
    for name, number in task.named_ports.items():
        variables[f"RECONCILER_PORT_{env_name(name)}"] = str(number)
    for position, check in enumerate(definition.checks):
        if check.ttl:
            variables[f"RECONCILER_CHECK_{_tail(position, check)}"] = check_id(task.id, position)
    return variables | own(container)


def own(container: Container) -> dict[str, str]:
    """The variables that the definition sets."""
    return dict(_pair(entry) for entry in container.executor.env)


def _tail(position: int, check: Check) -> str:
    return env_name(check.name) if check.name else str(position)


def _pair(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition("=")
    return name, value
