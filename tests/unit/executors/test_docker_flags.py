"""What is wrong with flags is said before anything runs; what they mean is held to docker itself elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.executors.docker_config import problems
from reconciler.executors.docker_flags import FLAGS, REFUSED, apply, unsupported
from reconciler.executors.docker_request import Request
from reconciler.model.flag_words import ALIASES, SWITCHES
from reconciler.model.manifests import DockerExecutor


def applied(*flags: str) -> Request:
    request = Request()
    assert apply(flags, request) == []
    return request


@pytest.mark.parametrize(
    "flags",
    [
        ("--cap-add=NET_ADMIN", "--init", "--memory=64m"),
        ("--cap-add", "NET_ADMIN", "--init", "--memory", "64m"),
        ("--cap-add NET_ADMIN", "--init --memory 64m"),
        (["--cap-add=NET_ADMIN", "--init", "-m", "64m"]),
        ("--cap-add NET_ADMIN --init=true -m64m",),
        ("--init=1", "-m=64m", "--cap-add=cap_net_admin"),
    ],
)
def test_all_ways_to_write_flags_mean_the_same(flags: tuple[str, ...]) -> None:
    request = applied(*flags)
    assert request.host == {"CapAdd": ["CAP_NET_ADMIN"], "Init": True, "Memory": 64 * 1024 * 1024}


def test_a_value_with_spaces_stands_in_one_entry() -> None:
    assert applied("--label=a=one two", "--health-cmd=wget --spider http://x").config == {
        "Labels": {"a": "one two"},
        "Healthcheck": {"Test": ["CMD-SHELL", "wget --spider http://x"]},
    }
    assert applied("--label 'a=one two'").config == {"Labels": {"a": "one two"}}
    assert applied("--label", "a=one two").config == {"Labels": {"a": "one two"}}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_agent_owns_is_refused_with_the_reason(name: str) -> None:
    assert unsupported([f"{name}=x"]) == [f"{name} can't be used: {REFUSED[name]}"]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--name", "web", "--init"], ["--name"]),
        (["--restart always", "--rm"], ["--restart", "--rm"]),
        (["-d"], ["--detach"]),
        (["-it", "--init"], ["--interactive", "--tty"]),
        (["-dit"], ["--detach", "--interactive", "--tty"]),
        (["-P", "--rm=false"], ["--rm"]),
    ],
)
def test_every_refused_flag_is_named_and_its_value_taken_for_no_flag(flags: list[str], names: list[str]) -> None:
    assert [problem.split()[0] for problem in unsupported(flags)] == names


def test_an_unknown_flag_is_told_with_what_is_meant_and_what_is_known() -> None:
    (problem,) = unsupported(["--memroy=1g"])
    assert problem.startswith("--memroy is not a flag of docker run that is known here; did you mean --memory?")
    assert "--cap-add, --cap-drop" in problem
    assert len(unsupported(["--no-such", "value", "--init"])) == 1


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--memory=lots", "'lots' is not a size"),
        ("--memory", "needs a value"),
        ("--cpus=1,5", "not a number of CPUs"),
        ("--pids-limit=many", "not a whole number"),
        ("--init=perhaps", "neither true nor false"),
        ("--env=TOKEN", "not of the form name=value"),
        ("--label=reconciler.task=x", "the agent's own"),
        ("--network=name=web,alias=www", "--network-alias"),
        ("--publish=eighty:80", "not a whole number"),
        ("--publish=1-3:1-2", "different lengths"),
        ("--publish=70000:80", "not a port"),
        ("--publish=999.1.1.1:80:80", "999.1.1.1"),
        ("--publish=80:80/icmp", "not a protocol"),
        ("--volume=./data:/data", "absolute path"),
        ("--volume=data", "not of the form"),
        ("--device=null", "/dev/on-host"),
        ("--device=/dev/null:q", "not rights"),
        ("--mount=type=bind,source=/etc", "needs a target"),
        ("--mount=type=bind,source=etc,target=/x", "absolute source"),
        ("--mount=type=floppy,target=/x", "'floppy' is not a type"),
        ("--mount=target=/x,sauce=y", "'sauce' is not known of mounts"),
        ("--gpus=colour=red", "'colour' is not known"),
        ('--gpus="device=0', "is no list with commas"),
        ('--mount=type=bind,"src=/a', "is no list with commas"),
        (f"--memory={'9' * 400}g", "is not a size"),
        (f"--cpus={'9' * 400}", "is not a number of CPUs"),
        ("--ulimit=nofile", "not of the form name=value"),
        ("--tmpfs=scratch", "not an absolute path"),
        ("--add-host=db", "not of the form host:ip"),
        ("--add-host=db:nowhere", "nowhere"),
        ("--device-read-bps=/dev/null", "/dev/name:number"),
        ("--health-interval=soon", "not a duration"),
        ("--security-opt=seccomp=profile.json", "seccomp=/absolute/path"),
        ("stray", "is no flag"),
        ("--label 'open", "No closing quotation"),
    ],
)
def test_a_bad_value_is_told_with_its_flag(flag: str, why: str) -> None:
    (problem,) = unsupported([flag])
    assert why in problem


def test_a_container_joins_one_network() -> None:
    assert unsupported(["--network=a", "--net=a"]) == []
    assert unsupported(["--network=a", "--net=b"]) == ["--network: a container joins one network"]


def test_all_problems_are_told_at_once_and_what_is_right_is_kept() -> None:
    request = Request()
    assert len(apply(["--memory=lots", "--init", "--rm", "--nonsense"], request)) == 3
    assert request.host == {"Init": True}


def test_short_names_and_switches_are_those_of_flags_that_there_are() -> None:
    assert {*ALIASES.values(), *SWITCHES} <= FLAGS.keys() | REFUSED.keys()
    assert not set(FLAGS) & set(REFUSED)


def test_problems_of_all_fields_are_found_at_once() -> None:
    executor = DockerExecutor(image="x", flags=("--rm",), ports=("99999:80",), volumes=("./a:/b",), entry="sh 'open")
    assert [field for field, _ in problems(executor)] == ["flags", "ports", "volumes", "entry"]
    assert problems(DockerExecutor(image="x", ports=("5000:5000",), volumes=("data:/data",), entry="sh -c")) == []


def test_validation_needs_no_docker() -> None:
    program = "import sys; import reconciler.executors.docker_config; print('docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_docs_name_every_flag() -> None:
    page = (Path(__file__).parents[3] / "docs/executors.md").read_text(encoding="utf-8")
    known, refused = page.split("Refused, because", 1)
    assert [name for name in FLAGS if f"`{name}`" not in known] == []
    assert [name for name in REFUSED if f"`{name}`" not in refused] == []
