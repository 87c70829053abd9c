"""``sync --notify``: what becomes of each commit is told, once; real git, Consul, scheduler, agent and HTTP."""

import json

import pytest

from tests.support.consul import ConsulAgent
from tests.support.git import GitRepository
from tests.support.program import Daemon, Program
from tests.support.receiver import ReceiverServer
from tests.support.sync import definition, service
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(240)

TOKEN = "glpat-do-not-show-me"


def manifest(version: int, command: str = "sleep 1000") -> str:
    web = service("web", version, 1, rollout={"deadline": "5s", "healthy_after": "1s"})
    declared = {"services": [web], "task_definitions": [definition("web", version, command)]}
    return json.dumps({"clusters": [{"name": "main", "services": ["web"]}], **declared})


def notifications(receiver: ReceiverServer) -> str:
    status = {"token": "env:TOKEN", "provider": "gitlab", "url": f"{receiver.url}/api/v4", "repository": "team/fleet"}
    hook = {
        "name": "chat",
        "url": "env:HOOK",
        "events": ["refused", "failed"],
        "body": '{"text": "${summary} ${link}"}',
    }
    return json.dumps({"link": "https://fleet.lan/${source}", "commit_statuses": [status], "webhooks": [hook]})


def start_sync(program: Program, repository: GitRepository) -> Daemon:
    options = ("--git", repository.url, "--branch", "main", "--name", "fleet", "--poll", "0.5", "--http", "127.0.0.1:0")
    return program.start("sync", *options, "--notify", "notify.json")


def becomes(receiver: ReceiverServer, commit: str, *states: str) -> list[str]:
    """Wait until these are the states of a commit; the descriptions."""
    wait_until(
        lambda: [state for state, _ in receiver.statuses(commit)] == list(states),
        what=f"{commit[:12]} to become {', '.join(states)}",
        timeout_s=90,
    )
    return [description for _, description in receiver.statuses(commit)]


def set_up(program: Program, receiver: ReceiverServer) -> None:
    """A file of notifications, and its secrets."""
    (program.folder / "notify.json").write_text(notifications(receiver))
    program.environ |= {"TOKEN": TOKEN, "HOOK": f"{receiver.url}/hook/s3cr3t"}
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")


@pytest.mark.consul
@pytest.mark.slow
def test_each_commit_says_what_became_of_it_and_says_it_once(
    program: Program, repository: GitRepository, consul: ConsulAgent, receiver: ReceiverServer
) -> None:
    program.use(consul.new_url())
    set_up(program, receiver)
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--http", "127.0.0.1:0", "--executor", "bash")
    first = repository.commit({"web.json": manifest(1)}, "Serve")
    syncs = [start_sync(program, repository)]
    assert becomes(receiver, first, "pending", "success") == ["rolled out: main/web", "healthy: main/web"]
    assert receiver.requests[0].said == {
        "state": "pending",
        "name": "reconciler/fleet",
        "ref": "main",
        "description": "rolled out: main/web",
        "target_url": "https://fleet.lan/fleet",
    }
    assert receiver.requests[0].path.startswith("/api/v4/projects/team%2Ffleet/statuses/")

    broken = repository.commit({"web.json": "{"}, "Break it")
    (why,) = becomes(receiver, broken, "failed")
    assert why.startswith("refused: web.json:1:")
    said = wait_until(lambda: [each.said for each in receiver.requests if each.path == "/hook/s3cr3t"], what="the chat")
    assert said[0]["text"].startswith(f"fleet: revision {broken[:12]} (Break it, Ann Author")
    assert said[0]["text"].endswith(" https://fleet.lan/fleet")

    # another process takes over: what was said is not said again
    syncs.append(start_sync(program, repository))
    wait_until(lambda: "standing by" in syncs[1].output(), what="the second one to stand by")
    syncs[0].stop()
    bad = repository.commit({"web.json": manifest(2, "exit 3")}, "Crash")
    _, failed = becomes(receiver, bad, "pending", "failed")
    assert "main/web: version 2 was given up" in failed
    fine = repository.commit({"web.json": manifest(3)}, "Mend it")
    becomes(receiver, fine, "pending", "success")
    assert [state for state, _ in receiver.statuses()] == [
        "pending", "success", "failed", "pending", "failed", "pending", "success",
    ]  # fmt: skip
    wait_until(lambda: sum(each.path == "/hook/s3cr3t" for each in receiver.requests) == 2, what="the chat to hear it")
    for sync in syncs:
        assert TOKEN not in sync.output()
        assert "s3cr3t" not in sync.output()


def test_a_dead_receiver_holds_up_no_commit_and_hears_the_last_word_when_it_is_back(
    program: Program, repository: GitRepository, receiver: ReceiverServer
) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    set_up(program, receiver)
    receiver.free.clear()
    commits = [repository.commit({"web.json": manifest(1)}, "Serve")]
    sync = start_sync(program, repository)
    for version in (2, 3):
        wait_until(lambda: f"applied revision {commits[-1][:12]}" in sync.output(), what="it to be applied")
        commits.append(repository.commit({"web.json": manifest(version)}, "More"))
    wait_until(lambda: f"applied revision {commits[-1][:12]}" in sync.output(), what="the last one to be applied")
    receiver.free.set()
    becomes(receiver, commits[2], "pending")
    assert becomes(receiver, commits[1], "canceled") == [f"superseded: by {commits[2][:12]}"]
    assert sync.stop() == 0


def test_an_operator_tries_it_out(program: Program, repository: GitRepository, receiver: ReceiverServer) -> None:
    commit = repository.commit({"web.json": manifest(1)}, "Serve")
    (program.folder / "notify.json").write_text(notifications(receiver))
    test = ("notify", "test", "--notify", "notify.json", "--git", repository.url, "--name", "fleet")
    shown = program.ok(*test, "--dry-run")
    assert f"POST {receiver.url}/api/v4/projects/team%2Ffleet/statuses/{commit}" in shown
    assert "PRIVATE-TOKEN: <env:TOKEN>" in shown
    assert '"name":"reconciler/fleet/test"' in shown
    assert not receiver.requests

    program.environ |= {"TOKEN": TOKEN, "HOOK": f"{receiver.url}/hook/s3cr3t"}
    sent = json.loads(program.ok(*test, "--format", "json"))
    assert [(each["receiver"], each["answer"]) for each in sent] == [
        ("commit-status", "answers 201"),
        ("chat", "answers 200"),
    ]
    receiver.answers = [(403, {}, f"no rights for {TOKEN}".encode())]
    refused = program.run(*test, "--receiver", "commit-status")
    assert (refused.returncode, refused.stdout) == (
        1, f"commit-status: {receiver.url}/api/v4 answers 403: no rights for ***\n",
    )  # fmt: skip
    assert program.run(*test, "--receiver", "nobody").returncode == 2
    del program.environ["TOKEN"]
    missing = program.run("sync", "--git", repository.url, "--notify", "notify.json")
    assert missing.returncode == 2
    assert "the token of commit-status is in env:TOKEN, which is not set" in missing.stderr
