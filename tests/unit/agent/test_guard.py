"""The execution policy of a host: read again when it changes, and never loosened by a mistake."""

import os
from pathlib import Path

import msgspec
import pytest

from reconciler.agent.guard import Guard
from reconciler.errors import ExecutorError, UsageError
from reconciler.executors import host_policy
from reconciler.model.host_policy import HostPolicy, Violation
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Container,
    DockerContainer,
    DockerExecutor,
    TaskDefinition,
)


def mounting(path: Path | str) -> DockerContainer:
    return DockerContainer(name="web", executor=DockerExecutor(image="nginx", volumes=(f"{path}:/data",)))


def of(container: Container) -> TaskDefinition:
    return TaskDefinition(name="web", version=1, containers=(container,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yml"


def test_without_a_file_the_defaults_hold_and_one_that_comes_counts(file: Path) -> None:
    guard = Guard(file)
    definitions = {"digest": of(mounting("/srv"))}
    assert guard.refusals(definitions) == {
        "digest": f"host-path-not-allowed: container web mounts /srv of the host; in {file}, "
        "mounts lists folders that tasks may use"
    }
    assert guard.look() is None
    file.write_text("mounts: [{path: /srv}]")
    news = guard.look()
    assert news is not None
    assert (news.subject, news.message) == (str(file), "this execution policy counts from now on")
    assert guard.refusals(definitions) == {}
    assert guard.look() is None


def test_a_file_that_was_asked_for_must_be_there(file: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        Guard(file, required=True)


def test_a_broken_file_ends_an_agent_that_starts(file: Path) -> None:
    file.write_text("mounts: {}")
    with pytest.raises(UsageError, match=r"policy\.yml:1:9: "):
        Guard(file)


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_a_file_that_breaks_or_goes_leaves_the_last_good_policy(file: Path, how: str) -> None:
    file.write_text("privileged: true")
    guard = Guard(file)
    if how == "broken":
        file.write_text("privileged: maybe")
    else:
        file.rename(file.with_suffix(".old"))
    news = guard.look()
    assert news is not None
    assert news.message.startswith("the last good execution policy stays in force: ")
    assert (guard.policy.privileged, guard.problem) == (True, news.message)
    assert guard.look() is None, "said once"
    file.write_text("privileged: true")
    assert guard.look() is not None
    assert guard.problem is None


def test_a_link_that_changed_since_the_plan_is_seen_before_the_start(file: Path, tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret"
    for each in (data, secret):
        each.mkdir()
    link = data / "link"
    link.mkdir()
    file.write_text(f"mounts: [{{path: {data}}}]")
    guard = Guard(file)
    assert guard.refusals({"digest": of(mounting(link))}) == {}
    link.rmdir()
    link.symlink_to(secret)
    with pytest.raises(ExecutorError, match="host-path-not-allowed") as raised:
        guard.require(mounting(link))
    assert raised.value.permanent


def test_a_definition_that_can_not_be_judged_keeps_no_other_from_starting(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(definition: TaskDefinition, _: HostPolicy) -> list[Violation]:
        if definition.name == "bad":
            raise LookupError("a defect")
        return []

    monkeypatch.setattr(host_policy, "violations", judge)
    good = of(mounting("/srv"))
    refused = Guard(file).refusals({"bad": msgspec.structs.replace(good, name="bad"), "good": good})
    assert refused == {"bad": "it can't be judged by this host's execution policy: LookupError: a defect"}


def test_planning_looks_at_no_path_of_the_host(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(path: str) -> str:
        raise AssertionError(f"a file system that does not answer would block the planner: {path}")

    file.write_text("mounts: [{path: /mnt}]\nartifacts: [file:///mnt/]")
    guard = Guard(file)
    monkeypatch.setattr(os.path, "realpath", hangs)
    fetching = BashContainer(name="job", executor=BashExecutor(start=("true",), artifact="file:///mnt/x.tgz"))
    assert guard.refusals({"one": of(mounting("/mnt/nfs")), "two": of(fetching)}) == {}


def test_a_file_that_can_be_read_again_counts_again_though_nobody_touched_it(file: Path) -> None:
    file.write_text("privileged: true")
    guard = Guard(file)
    aside = file.rename(file.with_suffix(".old"))
    file.mkdir()
    assert guard.look() is not None
    assert guard.problem is not None
    file.rmdir()
    aside.rename(file)
    assert guard.look() is not None
    assert guard.problem is None
