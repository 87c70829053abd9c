"""``explain`` and ``events`` as users run them: a real repository, a real store on disk, the real program."""

import json
import signal
from pathlib import Path

from reconciler.model import keys
from reconciler.model.task import ClusterHead, Decision
from reconciler.store.connect import open_store
from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.scheduler_store import put
from tests.support.wait import wait_until

MAIN = """\
# comments and lines above count
clusters:
- {name: main, services: [web]}
services:
- name: web
  task_name: web
  task_version: 1
  desired: 1
"""
WEB = """\
task_definitions:
- name: web
  version: 1
  containers:
  - {name: main, type: bash, executor: {start: [sleep 9]}}
"""


def test_explain_names_the_commit_that_changed_each_file_and_events_follow_until_ctrl_c(
    repository: GitRepository, program: Program, tmp_path: Path
) -> None:
    program.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    url = f"sqlite://{tmp_path / 'state.db'}"
    first = repository.commit({"fleet/main.yml": MAIN, "fleet/web.yml": WEB}, "Add the web")
    sync = ("sync", "--git", repository.url, "--path", "fleet", "--name", "fleet", "--once", "--store", url)
    assert program.run(*sync).returncode == 0
    second = repository.commit({"fleet/main.yml": MAIN.replace("desired: 1", "desired: 2")}, "Two of the web")
    assert program.run(*sync).returncode == 0

    shown = program.run("explain", "web", "--store", url)
    assert shown.returncode == 0
    assert f"service web: fleet/main.yml:5\n    commit {second[:12]} by Ann Author, " in shown.stdout
    assert f"task definition web version 1: fleet/web.yml:2\n    commit {first[:12]} by Ann Author, " in shown.stdout
    answer = json.loads(program.run("explain", "service/web", "--store", url, "--format", "json").stdout)
    assert [(each["file"], each["line"], each["commit"]) for each in answer["origins"]] == [
        ("fleet/main.yml", 3, second),
        ("fleet/main.yml", 5, second),
        ("fleet/web.yml", 2, first),
    ]
    unknown = program.run("explain", "wen", "--store", url)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "Did you mean web?" in unknown.stderr

    follower = program.start("events", "--follow", "--format", "json", "--store", url)
    store = open_store(url, environ={})
    try:
        for number in (1, 2):
            text = f"start web-{number}"
            decision = Decision(seq=number, at=100.0, what=text, why="wanted", service="web")
            head = ClusterHead(cluster="main", scheduler="default", seq=number, decisions=(decision,))
            put(store, keys.cluster_head("main"), head)
            wait_until(lambda text=text: text in follower.output(), what=f"{text} is followed")  # type: ignore[misc]
    finally:
        store.close()
    follower.signal(signal.SIGINT)
    assert follower.process.wait(30) == 0
    followed = [json.loads(line) for line in follower.output().splitlines()]
    assert [(each["what"], each["cluster"]) for each in followed] == [("start web-1", "main"), ("start web-2", "main")]
    assert "start web-2" in program.run("events", "--service", "web", "--store", url).stdout
    assert program.run("events", "--since", "10m", "--store", url).stdout.startswith("nothing has happened")
