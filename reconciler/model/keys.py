"""Every key in the store, in one place. Prefixes end with a slash: without one a prefix names its neighbours too."""

from typing import Final

from reconciler.model.manifests import Cluster, ConfigObject, Host, Service, TaskDefinition
from reconciler.model.names import BY_ID

CONFIG: Final = "config/"
STATE: Final = "state/"
CLUSTERS: Final = "config/clusters/"
SERVICES: Final = "config/services/"
TASK_DEFINITIONS: Final = "config/task_definitions/"
HOSTS: Final = "config/hosts/"

SECRETS: Final = "secrets/"
"""Values for containers; ours to read only."""

TASKS: Final = "state/tasks/"
TASKS_BY_ID: Final = f"state/tasks/{BY_ID}/"
CLUSTER_HEADS: Final = "state/clusters/"
PLACEMENT: Final = "state/placement"
ROLLOUTS: Final = "state/rollouts/"
HOST_STATES: Final = "state/hosts/"
STATUSES: Final = "state/status/"
SOURCES: Final = "state/sync/"
WAKES: Final = "state/wake/"
OVERRIDES: Final = "state/overrides/"
SOURCE_INTENTS: Final = "state/overrides/sources/"
SERVICE_OVERRIDES: Final = "state/overrides/services/"
HOST_OVERRIDES: Final = "state/overrides/hosts/"
CLUSTER_OVERRIDES: Final = "state/overrides/clusters/"
EVERY: Final = "_"
"""In the place of a cluster's name: all clusters."""
PROVENANCE: Final = "state/provenance/"
REPORTS: Final = "state/reports/"
_SLASHES: Final = 3
"""Those in the key of a task or a rollout."""

SCHEDULER_LOCKS: Final = "schedulers/"
SYNC_LOCKS: Final = "sync/"

CONFIG_SENTINEL: Final = "config/.store"
STATE_SENTINEL: Final = "state/.store"
MOVED: Final = "config/.moved"
"""Which source moved last; among the objects, so that one listing has both."""
OURS: Final = (CONFIG, STATE, SCHEDULER_LOCKS, SYNC_LOCKS)
"""All the space that this program uses under its root."""


def cluster(name: str) -> str:
    return CLUSTERS + name


def service(name: str) -> str:
    return SERVICES + name


def task_definition(name: str, version: int) -> str:
    return f"{TASK_DEFINITIONS}{name}/{version}"


def host(name: str) -> str:
    return HOSTS + name


def config(thing: ConfigObject) -> str:
    """The key of a declared object."""
    match thing:
        case Cluster():
            return cluster(thing.name)
        case Service():
            return service(thing.name)
        case TaskDefinition():
            return task_definition(thing.name, thing.version)
        case Host():
            return host(thing.name)


def task_by_id(task_id: str) -> str:
    return TASKS_BY_ID + task_id


def secret(name: str) -> str:
    return SECRETS + name


def tasks_of_host(host_name: str) -> str:
    """The prefix that an agent watches."""
    return f"{TASKS}{host_name}/"


def task_by_host(host_name: str, task_id: str) -> str:
    return tasks_of_host(host_name) + task_id


def preparations_of_host(host_name: str) -> str:
    """Beside the host's tasks, so that its agent watches one prefix; no id of a task begins with a dot."""
    return f"{tasks_of_host(host_name)}.prepare/"


def preparation_by_host(host_name: str, cluster_name: str, service_name: str) -> str:
    return f"{preparations_of_host(host_name)}{cluster_name}/{service_name}"


def placeholder(host_name: str) -> str:
    """What keeps the prefix of a host without tasks from being empty; nothing is told from it."""
    return f"{tasks_of_host(host_name)}.agent"


def is_task_by_host(key: str) -> bool:
    """Whether it is the copy of a task's record for its host, and not what else lies beside it."""
    host_name, _, task_id = key.removeprefix(TASKS).partition("/")
    return key.startswith(TASKS) and host_name != BY_ID and not task_id.startswith(".")


def cluster_head(cluster_name: str) -> str:
    return CLUSTER_HEADS + cluster_name


def rollouts_of_cluster(cluster_name: str) -> str:
    return f"{ROLLOUTS}{cluster_name}/"


def rollout(cluster_name: str, service_name: str) -> str:
    return rollouts_of_cluster(cluster_name) + service_name


def preparation(cluster_name: str, service_name: str, host_name: str) -> str:
    """Beneath the rollout, so that a scheduler reads both at once."""
    return f"{rollout(cluster_name, service_name)}/{host_name}"


def is_preparation(key: str) -> bool:
    """Whether a key among those of tasks or rollouts is of a preparation, which lies deeper; names hold no slashes."""
    return key.count("/") > _SLASHES


def host_state(host_name: str) -> str:
    return HOST_STATES + host_name


def status(host_name: str) -> str:
    return STATUSES + host_name


def source(name: str) -> str:
    return SOURCES + name


def wake(source_name: str) -> str:
    """Touched by whoever hears that a source moved and does not work on it; the one who does watches it."""
    return WAKES + source_name


def source_intent(source_name: str) -> str:
    """What operators said about a source."""
    return SOURCE_INTENTS + source_name


def service_override(name: str) -> str:
    """What operators changed about a service."""
    return SERVICE_OVERRIDES + name


def host_override(name: str) -> str:
    return HOST_OVERRIDES + name


def cluster_override(name: str) -> str:
    return CLUSTER_OVERRIDES + name


def provenance_of_source(source_name: str) -> str:
    """The prefix of what is known of where a source's objects are written."""
    return f"{PROVENANCE}{source_name}/"


def reports(source_name: str) -> str:
    """What was said of a source's revisions, and who has heard it."""
    return REPORTS + source_name


def reported_services(source_name: str) -> str:
    """Beside it: what the source's services were declared as then; written far less often."""
    return f"{reports(source_name)}/services"


def scheduler_lock(cluster_name: str) -> str:
    return SCHEDULER_LOCKS + cluster_name


def sync_lock(source_name: str) -> str:
    return SYNC_LOCKS + source_name
