"""``reconciler validate`` as people and CI run it: what it prints, and how it ends."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.manifests.disk_cache import WORTH_FILES

ROOT = Path(__file__).parent.parent.parent.parent
GOOD = "hosts:\n  - name: web-1\n"
BAD = "hosts:\n  - nam: web-1\n"
WARNED = "# nothing yet\n"


def validate(*arguments: str | Path, stdin: str | bytes = "") -> "subprocess.CompletedProcess[str]":
    raw = stdin.encode() if isinstance(stdin, str) else stdin
    command = [sys.executable, "-m", "reconciler", "validate", *map(str, arguments)]
    done = subprocess.run(command, input=raw, capture_output=True, cwd=ROOT)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.yml").write_text(BAD)
    (tmp_path / "a.yml").write_text(GOOD)
    (tmp_path / ".hidden.yml").write_text("no: [")
    return tmp_path


def test_the_examples_are_clean() -> None:
    done = validate("examples/")
    assert done.returncode == 0, done.stdout
    assert done.stdout == "valid: 7 files, 20 objects, no errors, no warnings\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "path",
    [
        "examples/hello-world.yml",
        "examples/hello-world-bash",
        "examples/rollouts-and-placement",
        "examples/environments",
    ],
)
def test_each_example_is_whole_by_itself(path: str) -> None:
    assert validate(path).returncode == 0


def test_problems_are_lines_that_editors_and_ci_understand(folder: Path) -> None:
    done = validate(folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{folder}/b.yml:2:5: error RC021 host has no field 'nam'; did you mean name?",
        "invalid: 2 files, 1 object, 1 error, no warnings",
    ]


def test_warnings_alone_are_valid(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(WARNED)
    done = validate(tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "valid: 1 file, no objects, no errors, 1 warning"


def test_json_is_for_programs(folder: Path) -> None:
    (folder / "c.yml").write_text(WARNED)
    done = validate("--format", "json", folder)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    problems = answer.pop("problems")
    assert answer == {"valid": False, "strict": False, "files": 3, "objects": 1, "errors": 1, "warnings": 1} | {
        "elsewhere": 0,
        "environments": [],
        "ignored": [],
    }
    assert problems[0] == {
        "code": "RC021",
        "rule": "unknown-field",
        "severity": "error",
        "file": f"{folder}/b.yml",
        "line": 2,
        "column": 5,
        "message": "host has no field 'nam'",
        "hint": "did you mean name?",
        "environments": [],
    }
    assert problems[1]["severity"] == "warning"


def test_json_says_so_when_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(GOOD)
    done = validate(tmp_path, "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "valid": True,
        "strict": False,
        "files": 1,
        "objects": 1,
        "errors": 0,
        "warnings": 0,
        "elsewhere": 0,
        "environments": [],
        "problems": [],
        "ignored": [],
    }


def test_a_dash_is_the_standard_input() -> None:
    assert validate("-", stdin=GOOD).returncode == 0
    done = validate("-", stdin=BAD)
    assert done.returncode == 1
    assert done.stdout.startswith("<stdin>:2:5: error RC021 ")


def test_nothing_on_the_standard_input_is_invalid() -> None:
    done = validate("-")
    assert done.returncode == 1
    assert "RC051" in done.stdout


def test_files_are_checked_whatever_they_are_called_when_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / ".manifest.txt"
    path.write_text(BAD)
    assert validate(path).returncode == 1


def test_a_file_that_is_named_twice_is_checked_once(folder: Path) -> None:
    done = validate(folder / "a.yml", folder / "a.yml", folder / ".." / folder.name, folder)
    assert done.stdout.splitlines()[-1] == "invalid: 2 files, 1 object, 1 error, no warnings"


def test_references_hold_over_everything_that_is_given(tmp_path: Path) -> None:
    service, cluster = tmp_path / "s.yml", tmp_path / "c.yml"
    service.write_text("services: [{name: web, task_name: web, task_version: 1, desired: 1}]\n")
    cluster.write_text("clusters: [{name: c, services: [web]}]\n")
    assert "RC010" in validate(cluster).stdout
    done = validate(service, cluster)
    assert done.returncode == 1
    assert "RC010" not in done.stdout
    assert "RC012" in done.stdout


def test_ignored_files_are_not_checked(folder: Path) -> None:
    (folder / "reconciler.yaml").write_text("ignore: [b.yml]\n")
    done = validate(folder)
    assert done.returncode == 0
    assert done.stdout == "valid: 1 file, 1 object, no errors, no warnings\n"


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_what_could_not_be_checked_is_not_called_valid(tmp_path: Path, output_format: str) -> None:
    """kubeconform, Flux: nothing was looked at, and all was green."""
    (tmp_path / "good.yml").write_text(GOOD)
    (tmp_path / "empty").mkdir()
    (tmp_path / "ignored").mkdir()
    (tmp_path / "ignored" / "reconciler.yaml").write_text('ignore: ["*.yml"]\n')
    (tmp_path / "ignored" / "a.yml").write_text(GOOD)
    for missing in ("gone.yml", "gone/", "empty", "ignored"):
        done = validate(
            "--format", output_format, tmp_path / "good.yml" if missing != "ignored" else "--", tmp_path / missing
        )
        assert done.returncode == 2, missing
        assert done.stdout == ""
        assert str(tmp_path / missing) in done.stderr
        assert "Traceback" not in done.stderr


def test_no_path_is_wrong_usage() -> None:
    done = validate()
    assert done.returncode == 2
    assert "PATH" in done.stderr


def test_a_file_that_can_not_be_read_ends_it(folder: Path) -> None:
    loop = folder / "loop.yml"
    loop.symlink_to(loop.name)
    for path in (loop, folder):
        done = validate(path)
        assert done.returncode == 2
        assert f"{path} can't be read: Too many levels of symbolic links" in done.stderr
        assert done.stdout == ""


def test_a_huge_file_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "huge.yml").open("wb") as file:
        file.truncate(1 << 40)
    done = validate(tmp_path)
    assert done.returncode == 1
    assert "RC050" in done.stdout


def test_colours_are_for_terminals_only(folder: Path) -> None:
    assert "\x1b" not in validate(folder).stdout
    ours, theirs = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "reconciler", "validate", str(folder)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environ, cwd=ROOT)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[31m" in shown
    assert "b.yml:2:5: \x1b[31m\x1b[1merror\x1b[0m RC021 host" in shown


def test_a_pipe_that_is_closed_early_is_no_error(folder: Path) -> None:
    (folder / "many.yml").write_text("hosts:\n" + "  - nam: x\n" * 400)
    command = f"{sys.executable} -m reconciler validate {folder} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, text=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_help_teaches() -> None:
    done = validate("--help")
    assert done.returncode == 0
    for word in ("Exit codes", "Examples", "docs/manifests.md", "--format", "standard input"):
        assert word in done.stdout


MOST_MODULES = 250
"""So many modules are imported to check one file; each of them is time that an editor or a hook waits."""


HEAVY = {"docker", "git", "consul", "rich", "watchdog", "prometheus_client", "psutil", "requests", "urllib3"}
HEAVY |= {"sqlite3", "http.server", "asyncio", "ssl", "multiprocessing", "socket"}


def imported(folder: Path, code: int) -> set[str]:
    """The modules that a run over a folder imports."""
    script = f"""
import json, sys
sys.argv = ["reconciler", "validate", {str(folder)!r}]
from reconciler.cli.main import main
try:
    main()
except SystemExit as stop:
    assert stop.code == {code}, stop.code
print(json.dumps(list(sys.modules)), file=sys.stderr)
"""
    environ = os.environ | {"XDG_CACHE_HOME": str(folder.parent / "cache")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, text=True, env=environ)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(("content", "code", "more"), [(GOOD, 0, 0), (BAD, 1, 150)])
def test_it_starts_without_what_it_does_not_need(tmp_path: Path, content: str, code: int, more: int) -> None:
    """Start-up is felt in editors and hooks; imports are what it costs. Only to explain a mistake is more needed."""
    (tmp_path / "a.yml").write_text(content)
    modules = imported(tmp_path, code)
    assert not modules & (HEAVY | ({"jsonschema", "referencing"} if code == 0 else set()))
    assert len(modules) <= MOST_MODULES + more


def test_what_is_remembered_needs_neither_parser_nor_model(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    for number in range(WORTH_FILES):
        (folder / f"{number}.yml").write_text(f"hosts:\n  - name: h{number}\n")
    assert {"yaml", "reconciler.model.manifests"} <= imported(folder, 0)
    modules = imported(folder, 0)
    assert not {"yaml", "reconciler.model.manifests", "reconciler.manifests.load"} & modules
    assert len(modules) <= MOST_MODULES - 75


def test_the_execution_policy_of_a_host_is_a_policy_too(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(
        "task_definitions:\n  - name: web\n    version: 1\n    containers:\n"
        "      - {name: web, type: docker, executor: {image: nginx, volumes: ['/srv:/srv']}}\n"
    )
    (tmp_path / "hosts").mkdir()
    policy = tmp_path / "hosts" / "policy.yaml"
    policy.write_text("mounts: [{path: /data}]")
    done = validate(tmp_path / "web.yml", "--policy", policy, "--format", "json")
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(done.stdout)["problems"]
    assert (found["code"], found["line"], found["column"]) == ("RC067", 5, 70)
    assert "host-path-not-allowed" in found["message"]
    policy.write_text("mounts: [{path: /srv}]")
    assert validate(tmp_path / "web.yml", "--policy", policy).returncode == 0
    policy.write_text("mounts: [/srv]")
    done = validate(tmp_path / "web.yml", "--policy", policy)
    assert done.returncode == 2
    assert f"{policy}:1:10: " in done.stderr
