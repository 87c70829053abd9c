"""Each rule of a host's execution policy, with what breaks it and what does not."""

from pathlib import Path

import msgspec
import pytest

from reconciler.executors.host_policy import container_violations, faults, violations
from reconciler.model.host_policy import HostPolicy
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Check,
    Container,
    DockerContainer,
    DockerExecutor,
    TaskDefinition,
)

DEFAULT: dict[str, object] = {}


def policy(**fields: object) -> HostPolicy:
    return msgspec.convert(fields, HostPolicy)


def docker(*flags: str, setup: tuple[str, ...] = (), **fields: object) -> DockerContainer:
    executor = msgspec.convert({"image": "nginx", "flags": flags, **fields}, DockerExecutor)
    return DockerContainer(name="web", executor=executor, setup=setup)


def bash(**fields: object) -> BashContainer:
    return BashContainer(name="job", executor=msgspec.convert({"start": ["true"], **fields}, BashExecutor))


def broken(container: Container, **fields: object) -> list[str]:
    return [each.rule for each in container_violations(container, policy(**fields))]


DANGEROUS = [
    "--cap-add=SYS_ADMIN",
    "--cap-add=all",
    "--cgroup-parent=/",
    "--cgroupns=host",
    "--device=/dev/sda",
    "--device-cgroup-rule=c 1:3 rwm",
    "--gpus=all",
    "--ipc=host",
    "--log-opt=syslog-address=unix:///run/x.sock",
    "--log-opt=syslog-tls-ca-cert=/etc/x",
    "--net=container:other",
    "--oom-kill-disable",
    "--oom-score-adj=-1000",
    "--pid=host",
    "--pid=container:other",
    "--runtime=/bin/sh",
    "--security-opt=seccomp=unconfined",
    "--security-opt=seccomp:unconfined",
    "--security-opt=systempaths=unconfined",
    "--security-opt=label=disable",
    "--userns=host",
    "--uts=host",
    "--volume-driver=local-persist",
    "--volumes-from=other",
]
HARMLESS = [
    "--cap-add=net_bind_service",
    "--cap-drop=ALL",
    "--cgroupns=private",
    "--group-add=audio",
    "--ipc=private",
    "--log-opt=max-size=10m",
    "--log-opt=syslog-address=tcp+tls://logs.example.com:6514",
    "--log-opt=tag={{.ImageName}}/{{.Name}}",
    "--memory=1g",
    "--net=host",
    "--network=backend",
    "--oom-score-adj=500",
    "--privileged=false",
    "--read-only",
    "--security-opt=no-new-privileges",
    "--user=0",
    "--volume=data:/data",
    "--volume=/only/inside",
    "--mount=type=tmpfs,target=/tmp",
    "--mount=source=data,target=/data",
]


@pytest.mark.parametrize("flag", DANGEROUS)
def test_a_flag_that_leads_out_of_the_container_needs_the_operators_word(flag: str) -> None:
    assert broken(docker(flag)) == ["flag-not-allowed"]
    assert broken(docker(flag), flags=[flag]) == []


@pytest.mark.parametrize("flag", HARMLESS)
def test_what_stays_inside_of_the_container_needs_nobodys_word(flag: str) -> None:
    assert broken(docker(flag)) == []


RULES: list[tuple[str, Container, dict[str, object], dict[str, object]]] = [
    ("executor-not-allowed", bash(), {"executors": ["docker"]}, DEFAULT),
    ("executor-not-allowed", docker(), {"executors": ["bash"]}, DEFAULT),
    ("executor-not-allowed", docker(setup=("true",)), {"executors": ["docker"]}, DEFAULT),
    ("image-not-allowed", docker(), {"images": ["registry.example.com/**"]}, {"images": ["nginx"]}),
    ("image-not-allowed", docker("--mount=type=image,src=a/b,dst=/b"), {"images": ["nginx"]}, {"images": ["*"]}),
    ("privileged-not-allowed", docker("--privileged"), DEFAULT, {"privileged": True}),
    ("privileged-not-allowed", docker("--privileged=1"), {"flags": ["--pid"]}, {"privileged": True}),
    ("host-path-not-allowed", docker(volumes=["/srv/a:/a"]), DEFAULT, {"mounts": [{"path": "/srv"}]}),
    ("host-path-not-allowed", docker("-v/srv/a:/a"), {"mounts": [{"path": "/srv/ab"}]}, {"mounts": [{"path": "/"}]}),
    ("host-path-not-allowed", docker("-v", "//srv/./a:/a"), DEFAULT, {"mounts": [{"path": "/srv/a/"}]}),
    ("host-path-not-allowed", docker("--mount=type=bind,src=/a,dst=/a"), DEFAULT, {"mounts": [{"path": "/a"}]}),
    ("flag-not-allowed", docker("--net=host"), {"refused_flags": ["--network=host"]}, DEFAULT),
    ("flag-not-allowed", docker("--net", "host"), {"refused_flags": ["--net"]}, {"refused_flags": ["--network=b*"]}),
    ("flag-not-allowed", docker("--cap-add=net_raw"), {"refused_flags": ["--cap-add=NET_*"]}, DEFAULT),
    ("flag-not-allowed", docker("--init"), {"refused_flags": ["--init=*"]}, {"refused_flags": ["--init=false"]}),
    ("flag-not-allowed", docker("--cap-add=sys_ptrace"), DEFAULT, {"flags": ["--cap-add=SYS_PTRACE"]}),
    ("flag-not-allowed", docker("--device=/dev/fuse"), {"flags": ["--device=/dev/dri/*"]}, {"flags": ["--device"]}),
    ("flag-not-allowed", docker("-u1:1", "--group-add=0"), {"users": ["1:1"]}, DEFAULT),
    ("flag-not-allowed", docker("--device=//dev/sda"), {"flags": ["--device"], "refused_flags": ["--device=/dev/sda"]},
        {"flags": ["--device=/dev/sd?"]}),
    ("user-not-allowed", docker("-u1", setup=("true",)), {"users": ["1"]}, {"users": ["1", "default"]}),
    ("host-path-not-allowed", bash(user="app", download_dir="/etc/cron.d"),
        {"users": ["app"], "mounts": [{"path": "/etc", "read_only": True}]},
        {"users": ["app"], "mounts": [{"path": "/etc"}]}),
    ("host-path-not-allowed", bash(user="app", download_dir="/srv/../etc"),
        {"users": ["app"], "mounts": [{"path": "/srv"}]}, DEFAULT),
    ("artifact-origin-not-allowed", bash(user="app", artifact="file:///etc/shadow"),
        {"users": ["app"]}, {"users": ["app"], "artifacts": ["file:///etc/"]}),
    ("secret-not-allowed", docker(secrets=[{"name": "db", "kv": "web/db/main"}]),
        {"secrets": ["kv:web/*", "file:**", "kv:WEB/**"]}, {"secrets": ["kv:web/**"]}),
    ("secret-not-allowed", bash(env_from=[{"name": "S", "agent_env": "SITE", "optional": True}]),
        {"secrets": []}, {"secrets": ["agent_env:S*"]}),
    ("secret-not-allowed", bash(secrets=[{"name": "key", "file": "tls/key"}]),
        {"secrets": ["kv:tls/key", "file:tls"]}, DEFAULT),
    ("user-not-allowed", docker(), {"users": ["1000:*"]}, {"users": ["default"]}),
    ("user-not-allowed", docker("-u1000:1", "-u0"), {"users": ["1000:*"]}, {"users": ["0"]}),
    ("user-not-allowed", bash(), {"users": ["deploy"]}, {"users": ["deploy", "default"]}),
    (
        "artifact-origin-not-allowed",
        bash(artifact="https://a.example.com/x.tgz"),
        {"artifacts": ["https://b.example.com/"]},
        {"artifacts": ["https://A.example.com:443"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "container", "strict", "lenient"), RULES)
def test_each_rule_is_broken_by_one_policy_and_kept_by_another(
    rule: str, container: Container, strict: dict[str, object], lenient: dict[str, object]
) -> None:
    assert broken(container, **strict) == [rule]
    assert broken(container, **lenient) == []


@pytest.mark.parametrize(
    "option", ["type=none,volume-opt=device=/etc,volume-opt=o=bind", "volume-driver=local-persist", "volume-opt=a=b"]
)
def test_a_volume_with_options_of_its_own_is_no_way_around_mounts(option: str) -> None:
    flag = f"--mount=target=/a,source=data,{option.replace('type=none,', '')}"
    assert broken(docker(flag), mounts=[{"path": "/srv"}]) == ["volume-options-not-allowed"]


def test_paths_may_be_for_reading_only() -> None:
    mounts = [{"path": "/srv", "read_only": True}, {"path": "/srv/rw"}]
    assert broken(docker(volumes=["/srv/a:/a:ro", "/srv/rw/a:/b"]), mounts=mounts) == []
    assert broken(docker("--mount=type=bind,source=/srv/a,target=/a,readonly"), mounts=mounts) == []
    (found,) = container_violations(docker(volumes=["/srv/a:/a:z"]), policy(mounts=mounts))
    assert (found.rule, found.text) == (
        "host-path-not-allowed",
        "container web mounts /srv/a of the host to write to it",
    )


@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/run/docker.sock", "/run", "/", "/run/containerd"])
def test_the_engines_socket_is_refused_unless_it_is_listed_by_itself(source: str) -> None:
    container = docker(volumes=[f"{source}:/x"])
    everything = {"path": "/"}
    sockets = [{"path": path} for path in ("/run/docker.sock", "/run/containerd/containerd.sock")]
    podman = {"path": "/run/podman/podman.sock"}
    assert broken(container, mounts=[everything]) == ["engine-socket-not-allowed"]
    assert broken(container, mounts=[everything, *sockets, podman]) == []


def test_a_link_inside_of_a_listed_folder_that_leads_outside_is_refused(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    for each in (data / "real", other):
        each.mkdir(parents=True)
    (data / "link").symlink_to(other)
    (tmp_path / "alias").symlink_to(data)
    listed = policy(mounts=[{"path": str(tmp_path / "alias")}])

    def rules(source: Path | str) -> list[str]:
        container = docker(volumes=[f"{source}:/x"])
        return [each.rule for each in container_violations(container, listed, lambda path: str(Path(path).resolve()))]

    assert rules(data / "real") == rules(tmp_path / "alias" / "real") == rules(data / "not-there-yet") == []
    assert rules(data / "link" / "x") == rules(other) == rules(f"{data}/real/../../other") == ["host-path-not-allowed"]


@pytest.mark.parametrize(
    ("pattern", "image", "matches"),
    [
        ("nginx", "nginx:1.27", True),
        ("nginx", "docker.io/library/nginx@sha256:00", True),
        ("nginx", "nginx.example.com/nginx", False),
        ("nginx:1.*", "nginx:1.27", True),
        ("nginx:1.*", "nginx", False),
        ("nginx:latest", "nginx", True),
        ("nginx:1.*", "nginx:1.27@sha256:00", False),
        ("team/*", "team/web", True),
        ("team/*", "team/web/part", False),
        ("registry.example.com/*", "registry.example.com/team/web", False),
        ("registry.example.com/**", "registry.example.com/team/web:3", True),
        ("registry.example.com/**", "registry.example.com.evil.org/web", False),
        ("registry.example.com:5000/**", "registry.example.com:5000/web", True),
        ("registry.example.com/**@sha256:*", "registry.example.com/web:3", False),
        ("registry.example.com/**@sha256:*", "registry.example.com/web@sha256:00", True),
        ("docker.io/library/*", "cafe", False),
        ("docker.io/**", "sha256:00ff", False),
    ],
)
def test_images_are_compared_as_docker_reads_their_names(pattern: str, image: str, *, matches: bool) -> None:
    assert broken(docker(image=image), images=[pattern]) == ([] if matches else ["image-not-allowed"])


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example.com/releases/x",
        "https://a.example.com:8443/releases/x",
        "https://a.example.com/releases-of-others/x",
        "https://a.example.com/releases/../x",
        "https://a.example.com/releases/%2e%2e/x",
        "https://a.example.com@b.example.com/releases/x",
    ],
)
def test_an_artifact_from_elsewhere_is_refused(url: str) -> None:
    origins = ["https://a.example.com/releases/"]
    assert broken(bash(artifact=url), artifacts=origins) == ["artifact-origin-not-allowed"]
    assert broken(bash(artifact="https://a.example.com/releases/x.tgz"), artifacts=origins) == []


def test_without_bash_no_check_runs_a_script_on_the_host() -> None:
    inside, outside = Check(script="true", container="web"), Check(script="true")
    definition = TaskDefinition(name="web", version=1, containers=(docker(),), checks=(inside, outside))
    (found,) = violations(definition, policy(executors=["docker"]))
    assert (found.rule, found.path) == ("executor-not-allowed", ("checks", 1, "script"))
    assert violations(definition, policy()) == []


def test_a_violation_says_where_it_stands() -> None:
    definition = TaskDefinition(name="web", version=1, containers=(docker(), docker("--init", "--pid=host")))
    (found,) = violations(definition, policy())
    assert found.path == ("containers", 1, "executor", "flags", 1)
    assert found.remedy == "flags: ['--pid=host'] allows it"


def test_every_rule_is_explained() -> None:
    page = (Path(__file__).parents[3] / "docs/host-policy.md").read_text(encoding="utf-8")
    names = {rule for rule, *_ in RULES} | {"engine-socket-not-allowed", "volume-options-not-allowed"}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_a_policy_with_flags_that_there_are_not_is_faulty() -> None:
    made = policy(flags=["--privileged", "--pid=host"], refused_flags=["--priviledged", "--net"])
    assert [fault.path for fault in faults(made)] == [("flags", 0), ("refused_flags", 0)]


def test_a_script_check_runs_as_the_agents_user_unless_a_process_is_there_to_run_it_beside() -> None:
    check = (Check(script="true", interval="10s"),)
    strict = policy(users=["app"])

    def rules(container: Container) -> list[str]:
        definition = TaskDefinition(name="web", version=1, containers=(container,), checks=check)
        return [each.rule for each in violations(definition, strict)]

    assert rules(docker("--user=app")) == ["user-not-allowed"]
    assert rules(bash(user="app")) == []


@pytest.mark.parametrize("device", ["/dev/dri/../sda", "/dev/dri/../sda:/dev/x:rwm", "/dev/dri/x:/../sda"])
def test_two_dots_lead_out_of_no_listed_pattern(device: str) -> None:
    assert broken(docker(f"--device={device}"), flags=["--device=/dev/dri/*"]) == ["flag-not-allowed"]
    assert broken(docker(f"--security-opt=seccomp={device}"), flags=["--security-opt"]) == ["flag-not-allowed"]


def test_a_device_is_the_one_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "link").symlink_to(tmp_path / "sda")

    def rules(pattern: str, **more: object) -> list[str]:
        container = docker(f"--device={tmp_path}/dri/link:/dev/x")
        asked = policy(flags=[f"--device={tmp_path}/{pattern}"], **more)
        return [each.rule for each in container_violations(container, asked, lambda path: str(Path(path).resolve()))]

    assert rules("dri/*") == ["flag-not-allowed"]
    assert rules("sda:*") == rules("dri/link:*") == []
    assert rules("sda:*", refused_flags=[f"--device={tmp_path}/sda:*"]) == ["flag-not-allowed"]


@pytest.mark.parametrize(
    ("image", "pattern", "matches"),
    [
        ("docker.io/nginx", "nginx", True),
        ("nginx", "docker.io/nginx", True),
        ("nginx", "docker.io/*", True),
        ("docker.io/other/nginx", "docker.io/*", False),
        ("docker.io/other/nginx", "docker.io/**", True),
    ],
)
def test_an_image_without_a_folder_is_one_of_library_with_and_without_its_registry(
    image: str, pattern: str, *, matches: bool
) -> None:
    assert broken(docker(image=image), images=[pattern]) == ([] if matches else ["image-not-allowed"])


@pytest.mark.parametrize(
    ("container", "rule"),
    [
        (docker(volumes=["/a\0b:/x"]), "host-path-not-allowed"),
        (docker("--mount=type=bind,src=/a\0,dst=/x"), "flag-not-allowed"),
        (bash(artifact="file:///a%00b"), "artifact-origin-not-allowed"),
        (bash(artifact="http://[x/y"), "artifact-origin-not-allowed"),
    ],
)
def test_what_is_no_path_and_no_url_is_refused_and_raises_nothing(container: Container, rule: str) -> None:
    listed = policy(mounts=[{"path": "/"}], artifacts=["file:///", "http://a.example.com/"])
    assert [each.rule for each in container_violations(container, listed, lambda p: str(Path(p).resolve()))] == [rule]


@pytest.mark.parametrize(
    "mistake",
    [
        {"mounts": [{"path": "/a\0b"}]},
        {"artifacts": ["http://[x/y"]},
        {"artifacts": ["a.example.com"]},
        {"secrets": ["web/db"]},
        {"secrets": ["kv:"]},
        {"secrets": ["env:SITE"]},
    ],
)
def test_a_policy_with_what_is_no_path_and_no_url_is_none(mistake: dict[str, object]) -> None:
    assert len(faults(policy(**mistake))) == 1
