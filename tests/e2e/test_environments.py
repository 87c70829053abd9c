"""Two environments of one repository, in two stores, as a user runs them."""

import json

import pytest

from reconciler.model import keys
from reconciler.store.connect import open_store
from tests.support.git import GitRepository
from tests.support.program import Program
from tests.unit.manifests.environment_files import REPOSITORY

pytestmark = pytest.mark.timeout(180)


def stored(program: Program, name: str) -> dict[str, bytes]:
    """What is declared in the store of an environment, by key."""
    store = open_store(f"sqlite://{program.folder}/{name}.db", environ={})
    try:
        return {entry.key: entry.value for entry in store.list(keys.CONFIG).entries if entry.key != keys.MOVED}
    finally:
        store.close()


def sync(program: Program, repository: GitRepository, name: str) -> str:
    store = f"sqlite://{program.folder}/{name}.db"
    return program.ok("sync", "--git", repository.url, "--env", name, "--once", "--store", store)


def test_each_environment_follows_its_own_overlay_and_says_where_everything_is_written(
    program: Program, repository: GitRepository
) -> None:
    repository.commit(REPOSITORY)
    prod = ("--store", f"sqlite://{program.folder}/prod.db")
    refused = program.run("sync", "--git", repository.url, "--once", *prod)
    assert refused.returncode == 1
    assert "for several environments: staging, prod" in refused.stderr
    assert "--env" in refused.stderr
    assert stored(program, "prod").keys() <= {keys.CONFIG_SENTINEL}
    for name in ("staging", "prod"):
        sync(program, repository, name)
    before = {name: stored(program, name) for name in ("staging", "prod")}
    web = {name: json.loads(before[name][keys.SERVICES + "web"]) for name in before}
    assert [(name, each["desired"], each["managed_by"]) for name, each in web.items()] == [
        ("staging", 2, f"{repository.path.name}-staging"),
        ("prod", 6, f"{repository.path.name}-prod"),
    ]

    repository.commit({"overlays/prod/a.yml": "services: [{name: worker, desired: 4}]\n"}, "More workers in production")
    plan = json.loads(program.ok("plan", "--git", repository.url, "--env", "prod", "--format", "json", *prod))
    assert [each["object"] for each in plan["changes"]] == ["service worker"]
    for name in ("staging", "prod"):
        sync(program, repository, name)
    after = {name: stored(program, name) for name in ("staging", "prod")}
    assert after["staging"] == before["staging"]
    assert {key for key, value in after["prod"].items() if before["prod"].get(key) != value} == {
        keys.SERVICES + "worker"
    }
    status = json.loads(program.run("status", "--format", "json", *prod).stdout)
    assert "environment prod" in json.dumps(status)
    history = json.loads(program.ok("history", f"{repository.path.name}-prod", "--format", "json", *prod))
    explained = program.ok("explain", "worker", *prod)
    assert "service worker: web.yml:9" in explained
    assert "with values from overlays/prod/a.yml:1" in explained
    assert "More workers in production" in explained
    assert [each["subject"] for each in history] == ["More workers in production", "Change manifests"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("text", "overlays/prod/a.yml:1:24: error RC021 service 'web' has no field 'mim' (in prod); did you mean min?"),
        ("json", '"environments": [\n        "prod"\n      ]'),
        ("github", "::error file=overlays/prod/a.yml,line=1,col=24,title=RC021 unknown-field::"),
        ("sarif", "\"text\": \"service 'web' has no field 'mim' (in prod); did you mean min?\""),
        ("junit", 'name="overlays/prod/a.yml" file="overlays/prod/a.yml" line="1"'),
    ],
)
def test_validate_checks_all_environments_in_every_format(program: Program, output: str, expected: str) -> None:
    for name, text in (REPOSITORY | {"overlays/prod/a.yml": "services: [{name: web, mim: 1}]\n"}).items():
        (program.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (program.folder / name).write_text(text)
    done = program.run("validate", ".", "--format", output)
    assert (done.returncode, expected in done.stdout) == (1, True), done.stdout + done.stderr
    assert program.run("validate", ".", "--env", "staging").returncode == 0


def test_gates_compare_each_environment_with_itself(program: Program, repository: GitRepository) -> None:
    repository.commit(REPOSITORY)
    change = "task_definitions: [{name: web, memory: 64}]\n"
    repository.commit({"overlays/prod/a.yml": change})
    done = program.run("validate", str(repository.path), "--base", "HEAD~1")
    assert done.returncode == 1
    assert "RC065 task definition web version 1 has another content than in HEAD~1 (in prod)" in done.stdout
    assert program.run("validate", str(repository.path), "--base", "HEAD~1", "--env", "staging").returncode == 0
    repository.write(
        {"overlays/prod/a.yml": change + "services: [{name: web, mim: 1}]\n", "x/hosts.yml": "hosts: [{}]\n"}
    )
    done = program.run("validate", str(repository.path), "--changed-since", "HEAD")
    assert done.stdout.count("RC02") == 2, done.stdout


def test_render_is_a_manifest_and_shows_how_two_environments_differ(
    program: Program, repository: GitRepository
) -> None:
    repository.commit(REPOSITORY)
    text = program.ok("render", "--git", repository.url, "--env", "prod")
    (program.folder / "out.yml").write_text(text)
    program.ok("validate", "out.yml")
    assert "desired: 6  # reconciler.yaml:" in text
    difference = program.ok("render", str(repository.path), "--env", "prod", "--diff", "staging")
    assert "-    desired: 2\n+    desired: 6\n" in difference
    refused = program.run("render", str(repository.path))
    assert refused.returncode == 1
    assert "staging, prod" in refused.stderr


def test_a_saved_plan_and_apply_keep_to_their_environment(program: Program, repository: GitRepository) -> None:
    repository.commit(REPOSITORY)
    program.use(f"sqlite://{program.folder}/store.db")
    program.ok("store", "init")
    program.ok("plan", "--git", repository.url, "--env", "staging", "--out", "plan.json")
    assert "created" in program.ok("apply", "--plan", "plan.json")
    other = f"sqlite://{program.folder}/other.db"
    assert "created" in program.ok("apply", "-f", str(repository.path), "--env", "prod", "--store", other)
    assert program.run("apply", "-f", str(repository.path), "--store", other).returncode == 1
    refused = program.run("dev", str(repository.path))
    assert refused.returncode == 1
    assert "staging, prod" in refused.stderr
