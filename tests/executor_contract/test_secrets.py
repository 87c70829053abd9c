"""Values that are in no manifest: given to the container that they are meant for, and to be found nowhere else."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.interface import Spec, Values
from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import POLITE

CANARY = "canary-5f1d"
SHOW = 'echo "got $DB_PASSWORD $(cat "$RECONCILER_SECRETS_DIR/db") $(ls "$RECONCILER_SECRETS_DIR")"; ' + POLITE


def with_values(spec: Spec, **fields: object) -> Spec:
    values = Values(
        **{
            "environment": {"DB_PASSWORD": f"{CANARY}-variable"},
            "files": {"db": f"{CANARY}-file\n".encode()},
            "fingerprint": "key:mark",
        }
        | fields
    )
    return msgspec.structs.replace(spec, values=values)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_gets_its_variables_and_files_and_keeps_their_fingerprint(stage: Stage) -> None:
    spec = stage.start_ready(with_values(stage.spec(stage.kit.shell(SHOW))))
    assert f"got {CANARY}-variable {CANARY}-file db" in stage.executor.logs(spec.ref, 10).decode()
    for executor in (stage.executor, stage.another_executor()):
        observed = stage.seen(spec, executor)
        assert observed is not None
        assert observed.fingerprint == "key:mark"


def test_files_are_closed_to_other_users_of_the_host_and_go_with_the_container(stage: Stage) -> None:
    spec = stage.start_ready(with_values(stage.spec(stage.kit.shell(SHOW))))
    (file,) = files_below(stage.kit.secrets())
    assert file.read_text() == f"{CANARY}-file\n"
    assert file.stat().st_mode & 0o222 == 0
    closed = [path for path in (file, file.parents[1]) if path.stat().st_mode & 0o077 == 0]
    assert closed, "the file itself, or the folder of all of them, is the agent's alone"
    stage.executor.stop(spec.ref, spec.container, 5)
    assert not files_below(stage.kit.secrets())
    assert stage.ended(spec).fingerprint == "key:mark"


def test_files_of_what_ended_by_itself_go_with_the_rest_of_it(stage: Stage) -> None:
    spec = stage.start(with_values(stage.spec(stage.kit.shell("exit 3"))))
    stage.ended(spec)
    stage.executor.remove(spec.ref)
    assert not files_below(stage.kit.secrets())


def test_a_new_attempt_has_the_new_files_alone(stage: Stage) -> None:
    first = stage.start(with_values(stage.spec(stage.kit.shell("exit 3"))))
    stage.ended(first)
    second = with_values(stage.spec(stage.kit.shell(SHOW), attempt=2), files={"db": b"two"}, fingerprint="key:two")
    stage.start_ready(second)
    assert f"got {CANARY}-variable two db" in stage.executor.logs(second.ref, 10).decode()
    observed = stage.seen(second)
    assert observed is not None
    assert observed.fingerprint == "key:two"


def test_nothing_is_left_of_a_start_that_failed(stage: Stage) -> None:
    spec = with_values(stage.spec(stage.kit.impossible()))
    with pytest.raises(ExecutorError):
        stage.start(spec)
    stage.executor.remove(spec.ref)
    assert not files_below(stage.kit.secrets())


def test_files_of_containers_that_are_gone_are_deleted_by_the_next_agent(stage: Stage) -> None:
    spec = stage.start_ready(with_values(stage.spec(stage.kit.shell(SHOW))))
    (file,) = files_below(stage.kit.secrets())
    left = file.parents[1] / "killed-between-file-and-container.0"
    left.mkdir()
    (left / "db").write_bytes(b"left")
    successor = stage.another_executor()
    found = successor.observe()
    assert len(files_below(stage.kit.secrets())) == 2, (
        "who only looks deletes nothing: they may be of a start under way"
    )
    successor.take_over(found)
    assert files_below(stage.kit.secrets()) == [file]
    assert stage.seen(spec) is not None


def test_values_are_in_no_argument_no_label_and_no_other_file(stage: Stage, tmp_path: Path) -> None:
    spec = stage.start_ready(with_values(stage.spec(stage.kit.shell(POLITE))))
    assert CANARY not in repr(spec)
    assert CANARY not in repr(stage.executor.observe())
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                assert CANARY.encode() not in (process / "cmdline").read_bytes()
            except OSError:
                continue
    written = [path for path in files_below(tmp_path) if CANARY.encode() in path.read_bytes()]
    assert written == files_below(stage.kit.secrets())
    assert CANARY not in json.dumps(stage.kit.labels(stage.owner, spec.ref))
