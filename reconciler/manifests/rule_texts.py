"""Why each rule is there, and the smallest manifest that breaks it: for ``reconciler rules``, docs/rules.md and SARIF.

A test loads every example and wants to see its rule broken.
"""

from typing import Final

import msgspec

_TASK = "containers: [{name: web, type: docker, executor: {image: nginx}}]"


class RuleText(msgspec.Struct, frozen=True):
    """Some words and an example, which is a file of YAML unless ``file`` says otherwise."""

    why: str
    example: str
    file: str = "example.yml"


TEXTS: Final[dict[str, RuleText]] = {
    "RC001": RuleText(
        "Which of the two would count depended on the order of files.",
        "hosts:\n  - name: web-1\n  - name: web-1",
    ),
    "RC002": RuleText(
        "A task's id is the names of its cluster and service with dashes between them, and names may hold dashes.",
        "clusters:\n  - {name: a-b, services: [c]}\n  - {name: a, services: [b-c]}",
    ),
    "RC003": RuleText(
        "Consul does not tell apart capital letters, so requests for one service would reach the other.",
        "clusters:\n  - {name: main, services: [web]}\n  - {name: Main, services: [web]}",
    ),
    "RC004": RuleText(
        "No version could ever be rolled out: each would have failed before its first task counts.",
        "clusters:\n  - {name: main, services: [web]}\nservices:\n  - name: web\n    task_name: web\n"
        "    task_version: 1\n    desired: 1\n    rollout: {healthy_after: 5m, deadline: 5m}\n"
        f"task_definitions:\n  - {{name: web, version: 1, {_TASK}}}",
    ),
    "RC010": RuleText(
        "Nothing would run, and nothing would say so: most often a typo, or a file that was forgotten.",
        "clusters:\n  - name: main\n    services: [wbe]",
    ),
    "RC011": RuleText(
        "A service runs only where a cluster lists it.",
        "services:\n  - {name: web, task_name: web, task_version: 1, desired: 1}\n"
        f"task_definitions:\n  - {{name: web, version: 1, {_TASK}}}",
    ),
    "RC012": RuleText(
        "The scheduler would have nothing to start, and a running service would stay at what it has.",
        "services:\n  - {name: web, task_name: wbe, task_version: 1, desired: 1}",
    ),
    "RC013": RuleText(
        "The same as for a missing definition: most often the service was changed and the definition was not.",
        "services:\n  - {name: web, task_name: web, task_version: 2, desired: 1}\n"
        f"task_definitions:\n  - {{name: web, version: 1, {_TASK}}}",
    ),
    "RC014": RuleText(
        "min is the fewest healthy tasks, max the most at a time: desired must lie between them.",
        "services:\n  - {name: web, task_name: web, task_version: 1, desired: 2, min: 3}",
    ),
    "RC015": RuleText(
        "An update stops one task first or starts one more first, and neither is allowed.",
        "services:\n  - {name: web, task_name: web, task_version: 1, desired: 2, min: 2, max: 2}",
    ),
    "RC016": RuleText(
        "A port can be had once on a host, so the second service waits for hosts that the first does not use.",
        "clusters:\n  - {name: main, services: [a, b]}\nservices:\n"
        "  - {name: a, task_name: web, task_version: 1, desired: 1}\n"
        "  - {name: b, task_name: web, task_version: 1, desired: 1}\n"
        f"task_definitions:\n  - {{name: web, version: 1, port: 80, {_TASK}}}",
    ),
    "RC017": RuleText(
        "A port can be had once on a host, so each task needs one of its own, and a rolling update one more.",
        "clusters:\n  - {name: main, services: [a]}\n"
        "services:\n  - {name: a, task_name: web, task_version: 1, desired: 3}\n"
        f"task_definitions:\n  - {{name: web, version: 1, port: 80, {_TASK}}}",
    ),
    "RC018": RuleText(
        "A store takes values of a limited size; the object would be refused when it is written.",
        "task_definitions:\n  - name: web\n    version: 1\n    tags: [a text of more than 256 KB]\n    …",
    ),
    "RC019": RuleText(
        "Most often a typo: the two would share hosts, and nothing would say so.",
        "clusters:\n  - {name: main, services: [web]}\nservices:\n"
        "  - {name: web, task_name: web, task_version: 1, desired: 1, placement: {apart_from: [bd]}}\n"
        f"task_definitions:\n  - {{name: web, version: 1, {_TASK}}}",
    ),
    "RC020": RuleText(
        "Programs that read the stored value rely on its type.", 'hosts:\n  - name: web-1\n    draining: "yes"'
    ),
    "RC021": RuleText("A misspelt field would silently do nothing.", "hosts:\n  - name: web-1\n    drainning: true"),
    "RC022": RuleText("There is no default that could be right.", "services:\n  - name: web"),
    "RC023": RuleText(
        "Only these are known.",
        "task_definitions:\n  - name: web\n    version: 1\n"
        "    containers: [{name: web, type: podman, executor: {image: nginx}}]",
    ),
    "RC024": RuleText(
        "Outside of the range it is a mistake for sure: bytes instead of MiB, a port that does not exist.",
        "services:\n  - {name: web, task_name: web, task_version: 1, desired: -1}",
    ),
    "RC025": RuleText(
        "A name, duration, URL or port mapping that no part of the program could understand.",
        "hosts:\n  - name: web/1",
    ),
    "RC026": RuleText(
        "A task has one port: a fixed one, or one that the scheduler provides.",
        f"task_definitions:\n  - {{name: web, version: 1, provide_port: true, port: 80, {_TASK}}}",
    ),
    "RC027": RuleText(
        "The check would ask the wrong address, and never pass.",
        f"task_definitions:\n  - name: web\n    version: 1\n    {_TASK}\n"
        '    checks: [{http: "http://127.0.0.1/", add_provided_port: true}]',
    ),
    "RC028": RuleText(
        "The container's port leads to the task's port, and the task has none.",
        "task_definitions:\n  - name: web\n    version: 1\n"
        "    containers: [{name: web, type: docker, executor: {image: nginx, container_port: 80}}]",
    ),
    "RC029": RuleText(
        "With none nothing would be checked, and with two nobody could say which one counts.",
        f"task_definitions:\n  - name: web\n    version: 1\n    {_TASK}\n    checks: [{{interval: 10s}}]",
    ),
    "RC030": RuleText(
        "Containers and checks are found by their name, and a cluster runs a service once.",
        "clusters:\n  - name: main\n    services: [web, web]",
    ),
    "RC031": RuleText(
        "There is one network then, the host's, so the program itself must listen on the task's port.",
        "task_definitions:\n  - name: web\n    version: 1\n    provide_port: true\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, container_port: 80, flags: [--net=host]}}",
    ),
    "RC032": RuleText(
        "Only a script can run inside of a container, and only a docker container can run one.",
        f"task_definitions:\n  - name: web\n    version: 1\n    {_TASK}\n"
        "    checks: [{script: 'true', container: wbe}]",
    ),
    "RC033": RuleText(
        "Whose an object is decides who may change and delete it; a manifest can't claim it.",
        "hosts:\n  - name: web-1\n    managed_by: me",
    ),
    "RC034": RuleText(
        "yes, 1.0 and 22:22 are a boolean, a number, and for some readers a number in base 60.", "hosts:\n  - name: yes"
    ),
    "RC035": RuleText(
        "Empty it means nothing, so most often something was forgotten.",
        "task_definitions:\n  - {name: web, version: 1, containers: []}",
    ),
    "RC036": RuleText(
        "YAML 1.1 reads 012 as ten and YAML 1.2 as twelve.",
        "services:\n  - {name: web, task_name: web, task_version: 012, desired: 1}",
    ),
    "RC037": RuleText(
        "It reads as if it did something.",
        f"task_definitions:\n  - name: web\n    version: 1\n    {_TASK}\n    checks: [{{ttl: 30s, interval: 10s}}]",
    ),
    "RC038": RuleText(
        "Only one of them could get it.",
        "task_definitions:\n  - name: web\n    version: 1\n    provide_port: true\n    containers:\n"
        "      - {name: a, type: docker, executor: {image: nginx, container_port: 80}}\n"
        "      - {name: b, type: docker, executor: {image: nginx, container_port: 80}}",
    ),
    "RC039": RuleText("Nothing that can't be read is ever applied. No manifest is known that gives this.", ""),
    "RC040": RuleText("Nothing after that place can be read.", "hosts:\n  - name: [web-1"),
    "RC041": RuleText("YAML readers silently keep one of the two.", "hosts:\n  - name: web-1\n    name: web-2"),
    "RC042": RuleText("How wide a tab is, is not known to YAML.", "hosts:\n\t- name: web-1"),
    "RC043": RuleText(
        "A few lines can stand for a billion values and fill the memory of whoever reads them.",
        "a: &a [x, x, …]\nb: &b [*a, *a, …]\nc: &c [*b, *b, …]\n…",
    ),
    "RC044": RuleText("Nothing a manifest can hold goes so deep.", "[" * 70),
    "RC045": RuleText(
        "Tags make objects of programming languages, which is how files take over programs.",
        "hosts: !!python/name:os.system []",
    ),
    "RC046": RuleText("Which characters are meant is not known.", "a file in UTF-16 or Latin-1"),
    "RC047": RuleText("No program on the way takes it as it is.", 'hosts:\n  - name: "web\\0"'),
    "RC048": RuleText(
        "Readers of YAML 1.1 merge the fields, readers of YAML 1.2 see a field called <<.",
        "hosts:\n  - &web {name: web-1}\n  - <<: *web",
    ),
    "RC049": RuleText("Fields have names, and on or 1 is none.", "on: []"),
    "RC050": RuleText(
        "No repository of manifests has such files; reading one would take memory and time.",
        "a file of more than 4 MiB",
    ),
    "RC051": RuleText(
        "A file that was cut off must not read as one that declares nothing: all of its objects would go.", ""
    ),
    "RC052": RuleText("It may have been meant to declare something.", "# nothing yet"),
    "RC053": RuleText("Other programs read it as JSON.", '{"hosts": [],}', "example.json"),
    "RC054": RuleText("It stands for nothing, or for itself without end.", "hosts: *hosts"),
    "RC060": RuleText(
        "A comment that silently ignores nothing, or says no reason, helps nobody. An error that keeps an object "
        "from being read can't be ignored, because the object would be missing, and so be deleted.",
        "clusters:\n  - name: main\n    services: [web]  # reconciler: ignore=RC010",
    ),
    "RC061": RuleText(
        "It would hide the problem when it comes back.",
        "# reconciler: ignore=RC010 the service is declared in another repository\nclusters:\n  - name: main",
    ),
    "RC062": RuleText(
        "The agent would refuse to start the task.",
        "task_definitions:\n  - name: web\n    version: 1\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, flags: [--rm]}}",
    ),
    "RC063": RuleText(
        "It reads as if it said something else, and rules out all hosts or none.",
        "services:\n  - name: web\n    task_name: web\n    task_version: 1\n    desired: 1\n    placement:\n"
        "      constraints: [{key: tag.zone, operator: in, value: a}]",
    ),
    "RC064": RuleText(
        "Patterns are matched in a time that grows with the length of the text alone, so that no pattern can stop a "
        "scheduler; what needs more is left out.",
        "services:\n  - name: web\n    task_name: web\n    task_version: 1\n    desired: 1\n    placement:\n"
        "      constraints: [{key: tag.zone, operator: regex, value: '^a$'}]",
    ),
    "RC065": RuleText(
        "Running tasks and hosts know a version by its content; sync refuses another one under the same number. Only "
        "`validate --base REV` sees it. Comments, the order of fields and the file do not count.",
        "a definition whose image changed since main, and whose version did not",
    ),
    "RC066": RuleText(
        "The tasks would wait for a host. Only `validate --against fleet.json` sees it, by the scheduler's planner.",
        "a service that asks for more memory than any host has left",
    ),
    "RC067": RuleText(
        "A host's operator has the last word on what runs there, and its agent rejects the task. Only "
        "`validate --policy policy.yml` sees it; the message begins with the name of the policy's own rule "
        "(docs/host-policy.md).",
        "task_definitions:\n  - name: web\n    version: 1\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, flags: [--privileged]}}",
    ),
    "RC070": RuleText(
        "Only one of the two could have it, and the task would never start.",
        f"task_definitions:\n  - name: web\n    version: 1\n    port: 8080\n    {_TASK}\n"
        "    ports: [{name: admin, port: 8080}]",
    ),
    "RC071": RuleText(
        "A port of the host leads to one port of one docker container.",
        f"task_definitions:\n  - name: web\n    version: 1\n    {_TASK}\n"
        "    ports: [{name: admin, container: wbe, container_port: 9000}]",
    ),
    "RC072": RuleText(
        "Nobody could reach the program on it.",
        "task_definitions:\n  - name: web\n    version: 1\n    ports: [{name: admin}]\n"
        "    containers: [{name: web, type: docker, executor: {image: nginx}}]",
    ),
    "RC073": RuleText(
        "Clients of one would be sent to the other. Versions of one task definition side by side (blue and green) are "
        "no problem.",
        "clusters: [{name: main, services: [web, api]}]\nservices:\n"
        "  - {name: web, task_name: web, task_version: 1, desired: 1, discovery_name: www}\n"
        "  - {name: api, task_name: api, task_version: 1, desired: 1, discovery_name: www}",
    ),
    "RC077": RuleText(
        "Which of them would count is not known, and none is no value at all.",
        "task_definitions:\n  - name: web\n    version: 1\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, secrets: [{name: db, kv: web/db, file: db}]}}",
    ),
    "RC078": RuleText(
        "One of the two values would be lost.",
        "task_definitions:\n  - name: web\n    version: 1\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, env: [DB=a], env_from: [{name: DB, kv: web/db}]}}",
    ),
    "RC080": RuleText(
        "Nothing is read when it is not clear for which environment: what is applied to the wrong one can stop it.",
        "environments:\n  staging: {}\n  prod: {}",
        "reconciler.yaml",
    ),
    "RC081": RuleText(
        "There is no default, so that no environment ever runs with the value of another.",
        "parameters:\n  REGISTRY: {type: string}\nenvironments:\n  prod: {}",
        "reconciler.yaml",
    ),
    "RC082": RuleText(
        "A name that is misspelt would go into an image or a URL as it is. Commands that a shell reads (start, stop, "
        "setup, script, cmd, entry) keep what is not declared, because there it is the shell's.",
        "environments:\n  prod:\n    parameters: {REGISTRI: registry.example.com}",
        "reconciler.yaml",
    ),
    "RC083": RuleText(
        "The change would silently do nothing: the name is misspelt, or the base has renamed it.",
        "services: [{name: wbe, desired: 6}] in overlays/prod, and no service wbe in the base",
    ),
    "RC084": RuleText(
        "Which of two changes counts, or what a change without a name is for, nobody could say.",
        "services: [{desired: 6}] in overlays/prod",
    ),
    "RC085": RuleText(
        "Environments stand in one place, the reconciler.yaml of the topmost folder, and each overlay is a folder of "
        "its own below it, with manifests in it.",
        "environments:\n  prod: {overlay: ../prod}",
        "reconciler.yaml",
    ),
}
"""By code."""

NO_FILE: Final = frozenset({"RC018", "RC039", "RC043", "RC046", "RC050", "RC065", "RC066", "RC083", "RC084"})
"""Rules whose example is words instead of a file."""
