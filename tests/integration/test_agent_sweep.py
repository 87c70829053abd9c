"""An agent cleans up what nothing needs any more, and nothing else."""

import os
import time
from pathlib import Path

from reconciler.agent import identity
from reconciler.executors.interface import Keep
from reconciler.executors.secret_files import SecretFiles
from reconciler.model.task import Phase
from tests.support.agent import AgentWorld, bash_definition, is_alive, noting_pid, pids_of
from tests.support.wait import wait_until

GIVES_UP = {"first_delay_s": 0.0, "delay_s": 0.0, "max_attempts": 1}


def test_what_a_failed_task_left_is_kept_for_a_while_and_then_removed(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.with_settings(restart=GIVES_UP)
    first = agent_world.start_agent()
    runs = agent_world.issue(bash_definition(noting_pid(tmp_path), name="runs"))
    agent_world.await_phase(runs, Phase.RUNNING)
    (pid,) = pids_of(tmp_path)
    failed = agent_world.issue(bash_definition("echo why; exit 3"))
    agent_world.await_phase(failed, Phase.FAILED)
    agent_world.take_back(failed)
    wait_until(lambda: failed.id not in agent_world.published(), what="it is gone")
    tasks = agent_world.folder / "bash" / "tasks"
    cut = tasks / "c-web-1-1.7.main.01234567"
    for age_s, folder in ((2 * 86_400, cut), (0, tasks / "c-web-1-2.7.main.01234567")):
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    assert any(path.name.startswith(f"{failed.id}.{failed.issue}.") for path in tasks.iterdir()), "it is kept"
    first.stop()

    agent_world.with_settings(keep=Keep(ended_s=0.001), sweep_s=0.1)
    agent_world.start_agent()
    wait_until(lambda: len(list(tasks.iterdir())) == 2, what="the old ones were removed")
    assert {path.name.split(".")[0] for path in tasks.iterdir()} == {runs.id, "c-web-1-2"}
    assert is_alive(pid)
    told = "removed 1 ended containers"
    wait_until(lambda: any(told in event.message for event in agent_world.events), what="it was told")


def test_secrets_of_a_cut_start_are_deleted_by_the_next_agent_and_not_by_a_dry_run(agent_world: AgentWorld) -> None:
    owner = identity.owner(agent_world.settings, agent_world.store_id)
    folder = SecretFiles(agent_world.folder / "bash" / "secrets", owner, "bash").write("c-web-1-1.7.main", {"db": b"x"})
    assert folder is not None
    agent_world.agent().dry_run()
    assert (folder / "db").exists(), "an agent beside this process may be about to start it"
    agent_world.start_agent()
    wait_until(lambda: not folder.exists(), what="they are deleted")
