"""A small repository with two environments, for the tests of what they come to."""

from reconciler.manifests.load import Loaded, load

Files = dict[str, str]

SETTINGS = """\
parameters:
  REGISTRY: {type: string, description: Where images come from.}
  WEB_COUNT: {type: integer, minimum: 1, maximum: 50}
  FAST: {type: boolean}
environments:
  staging:
    parameters: {REGISTRY: registry.staging, WEB_COUNT: 2, FAST: true}
  prod:
    overlay: overlays/prod
    parameters:
      REGISTRY: registry.prod
      WEB_COUNT: 6
      FAST: false
"""
BASE = """\
clusters:
  - {name: main, services: [web, worker]}
services:
  - name: web
    task_name: web
    task_version: 1
    desired: ${WEB_COUNT}
    rollout: {parallel: 2, deadline: 5m}
  - {name: worker, task_name: worker, task_version: 1, desired: 1}
task_definitions:
  - name: web
    version: 1
    provide_port: true
    tags: [a, b]
    containers:
      - name: app
        type: docker
        executor:
          image: ${REGISTRY}/web:1
          container_port: 80
          env: [LOG=debug, MODE=x]
      - {name: side, type: docker, executor: {image: side}}
    checks:
      - {name: http, http: "http://127.0.0.1/", add_provided_port: true}
  - {name: worker, version: 1, containers: [{name: a, type: bash, executor: {start: ['echo ${HOME}']}}]}
"""
HOSTS = "hosts: [{name: h1, tags: {zone: a, class: big}}]\n"
PATCH = "services: [{name: worker, desired: 3}]\n"
REPOSITORY = {"reconciler.yaml": SETTINGS, "web.yml": BASE, "x/hosts.yml": HOSTS, "overlays/prod/a.yml": PATCH}


def loaded(files: Files, environment: str | None = "prod") -> Loaded:
    """What the files come to."""
    return load([(name, text.encode()) for name, text in files.items()], environment=environment)


def with_patch(text: str) -> Files:
    """The repository with this overlay in prod."""
    return REPOSITORY | {"overlays/prod/a.yml": text}


def found(result: Loaded) -> list[str]:
    """The problems by place and code, and the words."""
    return [f"{each.file}:{each.line} {each.code} {each.message}" for each in result.problems]
