"""The commands of ``docs/gitops.md``, run as they stand, on a real repository in the place of the one that it names."""

import http.client
import json
import re
import shutil

import pytest

from reconciler.model import keys
from reconciler.store.connect import open_store
from tests.docs.pages import ROOT, Block, blocks
from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.sync import config, manifest, state
from tests.support.wait import wait_until

URL = "https://example.org/team/fleet.git"
PAGE = ROOT / "docs/gitops.md"
BLOCKS = {block.mark: block for block in blocks(PAGE)}


@pytest.fixture
def fleet(program: Program, repository: GitRepository) -> GitRepository:
    """The repository of the page, with manifests under ``deploy``; its tasks run nowhere."""
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    repository.commit({"deploy/web.json": manifest(["web"]), "README.md": "not ours"})
    return repository


def command_of(block: Block, number: int, repository: GitRepository) -> list[str]:
    words = [repository.url if word == URL else word for word in block.commands[number]]
    assert words.pop(0) == "reconciler"
    return words


def test_every_block_is_run_here() -> None:
    assert set(BLOCKS) == {
        *("run sync", "run once", "run apply", "run plan", "run gate", "run snapshot", "run wait"),
        *("run webhook", "run history", "run rollback", "run suspend", "run explain", "run health-gate"),
        *("run signatures", "run adopt", "run saved plan"),
    }


def test_sync_stays_up_and_applies_what_is_under_the_path(program: Program, fleet: GitRepository) -> None:
    daemon = program.start(*command_of(BLOCKS["run sync"], 0, fleet), "--name", "fleet", "--http", "127.0.0.1:0")
    wait_until(lambda: "applied revision" in daemon.output(), what="the revision to be applied")
    store = open_store(program.environ["RECONCILER_STORE"], environ={})
    assert set(config(store)) == {"config/clusters/main", "config/services/web", "config/task_definitions/web/1"}
    assert state(store, "fleet").location == f"{fleet.url} branch main deploy/"
    store.close()
    assert daemon.stop() == 0


def test_once_ends_and_status_shows_the_source(program: Program, fleet: GitRepository) -> None:
    block = BLOCKS["run once"]
    assert "3 created" in program.ok(*command_of(block, 0, fleet), "--name", "fleet")
    shown = program.run(*command_of(block, 1, fleet), "--format", "json")
    (source,) = json.loads(shown.stdout)["sources"]
    assert (source["source"], source["ok"], source["objects"]) == ("fleet", True, 3)
    shown_text = program.ok(*command_of(BLOCKS["run explain"], 0, fleet))
    assert f"service web: deploy/web.json:1\n    commit {fleet.head[:12]} by Ann Author, " in shown_text


def test_once_exits_with_1_when_refused_and_2_when_it_could_not(program: Program, fleet: GitRepository) -> None:
    words = command_of(BLOCKS["run once"], 0, fleet)
    fleet.commit({"deploy/web.yml": "services:\n- name: web\n  task: web\n  task_version: 1\n  desired: 1\n"})
    refused = program.run(*words)
    assert refused.returncode == 1
    assert "deploy/web.yml:3:3: error" in refused.stderr
    fleet.path.rename(fleet.path.with_name("away"))
    away = program.run(*words)
    assert away.returncode == 2
    assert "no git repository" in away.stderr
    assert "Traceback" not in refused.stderr + away.stderr


def test_plan_says_what_would_change_and_a_snapshot_says_the_same(program: Program, fleet: GitRepository) -> None:
    program.ok(*command_of(BLOCKS["run once"], 0, fleet), "--name", "fleet")
    (program.folder / "deploy").mkdir()
    (program.folder / "deploy/web.json").write_text(manifest(["web"], desired=3))
    shown = program.ok(*command_of(BLOCKS["run plan"], 0, fleet))
    assert "desired: 1 → 3" in shown
    assert program.run(*command_of(BLOCKS["run plan"], 0, fleet), "--detailed-exitcode").returncode == 2
    same = json.loads(program.ok(*command_of(BLOCKS["run plan"], 1, fleet), "--source", "fleet"))
    assert (same["changes"], same["unchanged"]) == ([], 3)
    take, compare = BLOCKS["run snapshot"].commands
    assert take[-2:] == [">", "fleet.json"]
    (program.folder / "fleet.json").write_text(program.ok(*take[1:-2]))
    program.use("sqlite:///not/there.db")
    comment = program.ok(*compare[1:])
    assert "### Plan for `fleet`" in comment
    assert "desired: 1 → 3" in comment
    gate = program.run(*BLOCKS["run gate"].commands[0][1:])
    assert gate.returncode == 1
    assert "does not fit: 3 tasks of service web" in gate.stdout


def test_a_saved_plan_is_applied_as_it_was_looked_at(program: Program, fleet: GitRepository) -> None:
    program.ok("store", "init")
    save, write = BLOCKS["run saved plan"].commands
    program.ok(*command_of(BLOCKS["run saved plan"], 0, fleet))
    assert (save[-1], write[-1]) == ("plan.json", "plan.json")
    assert "3 created" in program.ok(*write[1:])


def test_wait_fails_with_the_reasons_when_nothing_becomes_healthy(program: Program, fleet: GitRepository) -> None:
    done = program.run(*command_of(BLOCKS["run wait"], 0, fleet), "--name", "fleet")
    assert done.returncode == 1
    assert "3 created" in done.stdout
    assert "main/web: 0 of 1 healthy" in done.stderr
    assert "there is no host" in done.stderr


def test_what_nobody_signed_is_refused(program: Program, fleet: GitRepository) -> None:
    (program.folder / "signers").write_text("ann@example.org ssh-ed25519 AAAA\n")
    refused = program.run(*command_of(BLOCKS["run signatures"], 0, fleet), "--once")
    assert refused.returncode == 1
    assert "it has no ssh signature" in refused.stderr


def test_apply_by_hand(program: Program, fleet: GitRepository) -> None:
    shutil.copytree(ROOT / "examples", program.folder / "examples")
    assert "created" in program.ok(*command_of(BLOCKS["run apply"], 0, fleet))
    store = open_store(program.environ["RECONCILER_STORE"], environ={})
    assert state(store, "apply").mark.settled
    assert store.get(keys.cluster("default"))
    store.close()


def test_history_rollback_and_suspend(program: Program, fleet: GitRepository) -> None:
    once = [*command_of(BLOCKS["run once"], 0, fleet), "--name", "fleet"]
    program.ok(*once)
    first = fleet.head
    fleet.commit({"deploy/web.json": manifest(["web"], desired=2)}, "Two of them")
    program.ok(*once)
    assert "Two of them" in program.ok(*command_of(BLOCKS["run history"], 0, fleet))
    words = [first[:7] if word == "6f1c2a9" else word for word in command_of(BLOCKS["run rollback"], 0, fleet)]
    assert f"goes back to {first[:12]}" in program.ok(*words)
    program.ok(*command_of(BLOCKS["run suspend"], 0, fleet))
    assert program.run(*once).returncode == 1
    program.ok(*command_of(BLOCKS["run suspend"], 1, fleet))
    assert "1 updated" in program.ok(*once)
    shown = program.run("status")
    assert shown.returncode == 1
    assert "checkout is slow since; the next commit resumes" in shown.stdout


def test_handing_over_from_the_old_source_to_the_new_one(program: Program, fleet: GitRepository) -> None:
    once = [*command_of(BLOCKS["run once"], 0, fleet), "--name"]
    program.ok(*once, "old")
    refused = program.run(*once, "fleet")
    assert refused.returncode == 1
    assert "reconciler adopt fleet --from old clusters/main" in refused.stderr
    look, adopt = (command_of(BLOCKS["run adopt"], number, fleet) for number in (0, 1))
    assert "service web: source old → source fleet" in program.ok(*look)
    waiting = program.run(*adopt, "--timeout", "0.1")
    assert waiting.returncode == 1
    assert "nobody works on source fleet" in waiting.stderr
    assert "0 created, 3 updated, 0 deleted" in program.ok(*once, "fleet")
    assert "source old has nothing left, and is no more" in program.ok(*adopt)


def test_a_commit_is_on_trial_and_status_says_so(program: Program, fleet: GitRepository) -> None:
    words = command_of(BLOCKS["run health-gate"], 0, fleet)
    daemon = program.start(*words, "--name", "fleet", "--http", "127.0.0.1:0")
    wait_until(lambda: "has 300 s to make its services healthy" in daemon.output(), what="the trial")
    shown = program.run("status")
    assert shown.returncode == 1
    assert f"fleet: revision {fleet.head[:12]} is on trial: fails unless healthy within some 300 s" in shown.stdout
    assert daemon.stop() == 0


def test_the_webhook_is_served(program: Program, fleet: GitRepository) -> None:
    (program.folder / "webhook-secret").write_text("secret")
    words = command_of(BLOCKS["run webhook"], 0, fleet)
    words[words.index("0.0.0.0:8233")] = "127.0.0.1:0"
    daemon = program.start(*words, "--name", "fleet")
    found = wait_until(lambda: re.search(r"listening on http://127.0.0.1:(\d+)", daemon.output()), what="the server")
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    connection.request("POST", "/webhook", b"{}", {"X-Gitlab-Token": "secret", "X-Gitlab-Event": "Push Hook"})
    assert connection.getresponse().status == 200
    connection.close()
    assert daemon.stop() == 0
