"""The execution policy of a host has the last word, whatever manifests say."""

from pathlib import Path

from reconciler.agent.guard import Guard
from reconciler.model import codec, keys
from reconciler.model.manifests import DockerContainer, DockerExecutor, TaskDefinition
from reconciler.model.task import HostState, Phase
from tests.support.agent import AgentWorld, bash_definition, is_alive, noting_pid, pids_of
from tests.support.wait import wait_until

PRIVILEGED = TaskDefinition(
    name="raw",
    version=1,
    containers=(DockerContainer(name="main", executor=DockerExecutor(image="nginx", flags=("--privileged",))),),
)


def test_a_task_against_the_policy_is_rejected_by_the_rules_name(agent_world: AgentWorld, tmp_path: Path) -> None:
    file = tmp_path / "policy.yml"
    agent_world.start_agent(guard=Guard(file))
    status = agent_world.await_phase(agent_world.issue(PRIVILEGED), Phase.REJECTED)
    assert status.reason == (
        f"privileged-not-allowed: container main is privileged; in {file}, privileged: true allows it"
    )


def test_a_stricter_policy_counts_for_what_starts_next_and_leaves_what_runs(
    agent_world: AgentWorld, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yml"
    agent_world.start_agent(guard=Guard(file))
    runs = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_phase(runs, Phase.RUNNING)
    (pid,) = pids_of(tmp_path)
    file.write_text("executors: [docker]")
    refused = agent_world.issue(bash_definition(name="job"))
    status = agent_world.await_phase(refused, Phase.REJECTED)
    assert status.reason.startswith("executor-not-allowed: container main runs as a process of the host; ")
    assert is_alive(pid)

    def offered() -> tuple[str, ...]:
        entry = agent_world.store.get(keys.host_state(agent_world.host))
        return codec.decode(entry.value, HostState).executors if entry else ("nothing is known",)

    wait_until(lambda: offered() == (), what="schedulers know that nothing else can run here")
    file.write_text("executors: [dokcer]")
    agent_world.issue(bash_definition(name="other"))
    wait_until(lambda: any("policy.yml:1:13" in note for note in agent_world.notes()), what="the mistake is said")
    assert is_alive(pid)
