"""Every rule that a manifest can break, in one table. ``validate``, the docs and the tests are made from it.

A code is stable: it is never given to another rule, and never changes its meaning. RC001 to RC019 are about objects
and how they fit together, RC020 to RC039 about single fields, RC040 to RC059 about reading the file at all, RC060 and
on about comments to ``validate`` and what other parts refuse, RC080 and on about environments. ``rule_texts`` has more
words and an example for each.
"""

import enum
from typing import Final

import msgspec


class Severity(enum.StrEnum):
    """An error makes manifests invalid; a warning is shown and harms nothing."""

    ERROR = "error"
    WARNING = "warning"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """``slug`` is the name that people remember, ``remedy`` what to do when a message has nothing more exact.

    ``ignorable``: a comment may say that it does not count. Only where the objects are whole and can be stored all the
    same: an ignored error must never make an object disappear.
    """

    code: str
    slug: str
    severity: Severity
    summary: str
    remedy: str
    ignorable: bool


def _error(code: str, slug: str, summary: str, remedy: str, *, ignorable: bool = False) -> Rule:
    return Rule(code=code, slug=slug, severity=Severity.ERROR, summary=summary, remedy=remedy, ignorable=ignorable)


def _warning(code: str, slug: str, summary: str, remedy: str, *, ignorable: bool = True) -> Rule:
    return Rule(code=code, slug=slug, severity=Severity.WARNING, summary=summary, remedy=remedy, ignorable=ignorable)


# Objects, and how they fit together.
DECLARED_TWICE: Final = _error(
    "RC001", "declared-twice", "The same object is declared in two places.", "remove one of the two"
)
IDS_COLLIDE: Final = _error(
    "RC002", "ids-collide", "Tasks of two services could get the same id.", "rename one of the clusters or services"
)
DISCOVERY_NAMES_COLLIDE: Final = _error(
    "RC003",
    "discovery-names-collide",
    "Two services, or a service and a port of another one, would be found under one name.",
    "rename one of the clusters, services or ports",
)
DEADLINE_TOO_SHORT: Final = _error(
    "RC004",
    "deadline-too-short",
    "A rollout's deadline is over before its healthy_after.",
    "raise deadline, or lower healthy_after",
)
CLUSTER_SERVICE_MISSING: Final = _error(
    "RC010",
    "cluster-service-missing",
    "A cluster lists a service that is not declared.",
    "declare it or take it out",
    ignorable=True,
)
SERVICE_IN_NO_CLUSTER: Final = _warning(
    "RC011",
    "service-in-no-cluster",
    "A service is listed by no cluster, so nothing runs it.",
    "add it to the services of a cluster",
)
SERVICE_TASK_MISSING: Final = _error(
    "RC012",
    "service-task-missing",
    "A service names a task definition that is not declared.",
    "declare the task definition or correct task_name",
    ignorable=True,
)
SERVICE_VERSION_MISSING: Final = _error(
    "RC013",
    "service-version-missing",
    "A service names a version of its task definition that is not declared.",
    "declare that version or correct task_version",
    ignorable=True,
)
COUNTS_OUT_OF_ORDER: Final = _error(
    "RC014", "counts-out-of-order", "Not min <= desired <= max.", "make min <= desired <= max"
)
ROLLOUT_CANNOT_MOVE: Final = _warning(
    "RC015",
    "rollout-cannot-move",
    "min, desired and max are equal, so no task can be replaced by one of a new version.",
    "lower min by one or raise max by one",
)
FIXED_PORT_CLASH: Final = _warning(
    "RC016",
    "fixed-port-clash",
    "Services with the same fixed port can never share a host.",
    "use provide_port, or see that there are hosts enough",
)
FIXED_PORT_SPREAD: Final = _warning(
    "RC017",
    "fixed-port-spread",
    "Several tasks with one fixed port need as many hosts.",
    "use provide_port, or see that there are hosts enough",
)
OBJECT_TOO_LARGE: Final = _error(
    "RC018", "object-too-large", "An object is over 256 KB, too large to be stored.", "split it or make it smaller"
)
APART_FROM_MISSING: Final = _error(
    "RC019",
    "apart-from-missing",
    "A service is kept apart from one that is not declared.",
    "declare that service or take it out",
    ignorable=True,
)

# Single fields.
WRONG_TYPE: Final = _error("RC020", "wrong-type", "A value is of the wrong type.", "write a value of the right type")
UNKNOWN_FIELD: Final = _error(
    "RC021", "unknown-field", "A field that does not exist (a typo must not pass).", "correct the name or remove it"
)
MISSING_FIELD: Final = _error("RC022", "missing-field", "A required field is missing.", "add it")
NOT_A_CHOICE: Final = _error("RC023", "not-a-choice", "Not one of the values allowed.", "write one of them")
OUT_OF_RANGE: Final = _error(
    "RC024", "out-of-range", "A number is too small or too large.", "write a number in the range"
)
BAD_FORMAT: Final = _error("RC025", "bad-format", "A text is not of the form needed.", "write it in that form")
TWO_PORTS: Final = _error(
    "RC026", "port-and-provide-port", "Both port and provide_port are set.", "keep one of the two"
)
CHECK_WITHOUT_PORT: Final = _error(
    "RC027",
    "check-port",
    "A check asks for a port of the task that is not there, has no place for it, or one is there already.",
    "set provide_port or port on the task definition, and use it with an http or tcp check without a port",
)
CONTAINER_PORT_WITHOUT_PORT: Final = _error(
    "RC028",
    "container-port-without-port",
    "container_port, but the task definition has no port to map to it.",
    "set provide_port: true (or port) on the task definition",
)
CHECK_KIND: Final = _error(
    "RC029",
    "check-kind",
    "A check says not exactly one of http, tcp, script and ttl.",
    "keep exactly one of http, tcp, script and ttl",
)
DUPLICATE_NAME: Final = _error(
    "RC030", "duplicate-name", "A name stands twice in one list.", "rename or remove one of the two"
)
HOST_NETWORK_WITH_CONTAINER_PORT: Final = _warning(
    "RC031",
    "host-network-with-container-port",
    "container_port maps nothing in the host's own network.",
    "remove container_port and let the program listen on $PORT, or remove --net=host",
)
CHECK_CONTAINER: Final = _error(
    "RC032",
    "check-container",
    "container names no docker container of the task, or stands beside another check than a script.",
    "name one of the task's docker containers, on a script check",
)
MANAGED_BY_IN_MANIFEST: Final = _error(
    "RC033", "managed-by-in-manifest", "managed_by is written by sync, never by people.", "remove it"
)
NEEDS_QUOTES: Final = _error(
    "RC034", "needs-quotes", "Without quotes YAML reads this text as something else.", "put it in quotes"
)
TOO_FEW: Final = _error("RC035", "too-few", "A list or text is empty that must not be.", "add at least one")
AMBIGUOUS_NUMBER: Final = _error(
    "RC036",
    "ambiguous-number",
    "A number that YAML readers disagree about (012, 1_000, 1:30).",
    "write it as a plain decimal number",
)
NO_EFFECT: Final = _warning(
    "RC037", "no-effect", "A field that does nothing where it stands.", "remove it, or say what it needs"
)
CONTAINER_PORT_TWICE: Final = _error(
    "RC038",
    "container-port-twice",
    "Two containers of one task map the task's one port.",
    "keep container_port on one of them, and use ports for the other",
)
REFUSED_BY_MODEL: Final = _error(
    "RC039", "refused", "An object that cannot be read for another reason.", "compare it with docs/manifests.md"
)

# Reading the file at all.
BAD_SYNTAX: Final = _error("RC040", "bad-syntax", "Not YAML.", "correct the syntax")
DUPLICATE_KEY: Final = _error(
    "RC041",
    "duplicate-key",
    "A field stands twice in one object; one of the two would be lost.",
    "remove one of the two",
)
TAB: Final = _error("RC042", "tab", "A tab where YAML needs spaces.", "indent with spaces")
TOO_MANY_ALIASES: Final = _error(
    "RC043", "too-many-aliases", "Aliases that would grow beyond all bounds.", "write the values out"
)
TOO_DEEP: Final = _error(
    "RC044", "too-deep", "Nested deeper than any manifest needs.", "compare with docs/manifests.md"
)
TAG: Final = _error("RC045", "tag", "A YAML tag; manifests hold plain values only.", "remove the tag")
NOT_UTF8: Final = _error("RC046", "not-utf-8", "Not text in UTF-8.", "save the file as UTF-8")
CONTROL_CHARACTER: Final = _error("RC047", "control-character", "A control character such as NUL.", "remove it")
MERGE_KEY: Final = _error(
    "RC048", "merge-key", "A merge key (<<), which YAML 1.2 has no more.", "write the fields out, or use a plain alias"
)
KEY_NOT_TEXT: Final = _error("RC049", "key-not-text", "A key that is not text.", "put it in quotes")
FILE_TOO_LARGE: Final = _error("RC050", "file-too-large", "A file over the limit.", "split it into several files")
EMPTY_FILE: Final = _error(
    "RC051", "empty-file", "An empty file; perhaps it was cut off.", "remove it, or declare something in it"
)
NOTHING_DECLARED: Final = _warning(
    "RC052",
    "nothing-declared",
    "A file that declares nothing.",
    "remove it, or declare something in it",
    ignorable=False,
)
NOT_JSON: Final = _error("RC053", "not-json", "A .json file that is not JSON.", "correct it, or call it .yml")
BAD_ALIAS: Final = _error(
    "RC054", "bad-alias", "An alias without its anchor, or inside it.", "define the anchor before its aliases"
)

# Comments to validate, and what other parts refuse.
BAD_IGNORE: Final = _error(
    "RC060",
    "bad-ignore",
    "A comment that should ignore a problem, but can not.",
    "write # reconciler: ignore=RC012 and then the reason",
)
UNUSED_IGNORE: Final = _warning(
    "RC061", "unused-ignore", "A comment ignores what is not there.", "remove the comment", ignorable=False
)
DOCKER_FLAG: Final = _error(
    "RC062",
    "docker-flag",
    "A flag of docker run that the agent does not take.",
    "remove the flag, or write it as the message says",
    ignorable=True,
)
CONSTRAINT_VALUES: Final = _error(
    "RC063",
    "constraint-values",
    "A constraint has not the values that its operator compares with.",
    "give in values, and every other operator one value",
)
BAD_PATTERN: Final = _error(
    "RC064",
    "bad-pattern",
    "Not a pattern that a constraint can match with.",
    "write it with . [a-z] (a|b) * + ? {2,5} and \\d \\w \\s alone; the whole value has to match",
)
VERSION_CHANGED: Final = _error(
    "RC065",
    "version-changed",
    "A task definition's content changed, and its version did not.",
    "leave it as it was, and declare the change as a new version (reconciler bump)",
)
DOES_NOT_FIT: Final = _error(
    "RC066",
    "does-not-fit",
    "Tasks of a service would find no place on the hosts there are.",
    "ask for less, or make room on the hosts",
)
HOST_POLICY: Final = _error(
    "RC067",
    "host-policy",
    "The execution policy of a host would reject the task.",
    "change the definition, or ask the host's operator for it",
    ignorable=True,
)
PORT_TWICE: Final = _error(
    "RC070", "port-twice", "A task would need the same port of its host twice.", "give one of the two another port"
)
PORT_CONTAINER: Final = _error(
    "RC071",
    "port-container",
    "container and container_port of a named port do not name one docker container and a port in it.",
    "name one of the task's docker containers and the port that its program listens on",
)
PORT_NOT_MAPPED: Final = _warning(
    "RC072",
    "port-not-mapped",
    "A named port that leads into no container, though all have networks of their own.",
    "set container_port to the port that the program listens on",
)
DISCOVERY_NAME_SHARED: Final = _warning(
    "RC073",
    "discovery-name-shared",
    "Services of different task definitions or clusters are found under one name.",
    "give one of them another discovery_name, or ignore this with a reason if clients may get either",
)
SECRET_SOURCE: Final = _error(
    "RC077",
    "secret-source",
    "An entry of env_from or secrets says not exactly one of kv, file and agent_env.",
    "keep exactly one of kv, file and agent_env",
)
ENV_TWICE: Final = _error("RC078", "env-twice", "A variable is in env and in env_from.", "remove one of the two")

# Environments.
ENVIRONMENT_NOT_SAID: Final = _error(
    "RC080",
    "environment-not-said",
    "There are environments, and it is not said which one is meant; or there is none of that name.",
    "say with --env which one",
)
PARAMETER_UNSET: Final = _error(
    "RC081",
    "parameter-unset",
    "An environment gives no value to a parameter.",
    "give it one under parameters of the environment",
)
PARAMETER_UNDECLARED: Final = _error(
    "RC082",
    "parameter-undeclared",
    "A parameter is used, or given a value, and not declared.",
    "declare it under parameters in reconciler.yaml, or write $${ where ${ is meant as it is",
)
OVERLAY_MISSES: Final = _error(
    "RC083",
    "overlay-misses",
    "An overlay changes or removes what is not there.",
    "correct the name, or take it out; what is new says add: true",
)
BAD_OVERLAY: Final = _error(
    "RC084",
    "bad-overlay",
    "An overlay says something that has no one meaning.",
    "name what is changed, and say each change once",
)
BAD_ENVIRONMENTS: Final = _error(
    "RC085",
    "bad-environments",
    "Environments or parameters in reconciler.yaml that can not be used.",
    "see docs/environments.md",
)

RULES: Final[dict[str, Rule]] = {rule.code: rule for rule in list(globals().values()) if isinstance(rule, Rule)}
"""By code, in the order of the table."""
