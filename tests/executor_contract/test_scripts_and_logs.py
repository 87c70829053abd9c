"""Script checks and output."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.interface import Ref
from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import POLITE
from tests.support.wait import wait_until


def test_a_script_says_how_it_ended_and_what_it_wrote(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE), environment={"GREETING": "hello"}))
    script = 'echo "$GREETING $EXTRA"; echo trouble >&2; exit 2'
    result = stage.executor.run_script(spec.ref, script, {"EXTRA": "there"}, 20)
    assert result.exit_code == 2
    assert "hello there\n" in result.output
    assert "trouble\n" in result.output
    assert stage.executor.run_script(spec.ref, "true", {}, 20).exit_code == 0


def test_a_script_that_takes_too_long_is_cut_and_leaves_nothing_behind(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    result = stage.executor.run_script(spec.ref, "echo begun; sleep 7777 & sleep 7777", {}, 1)
    assert result.exit_code is None
    assert result.output == "begun\n"

    def left() -> str:
        # not every machine has ps
        look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null | grep '^sleep 7777'"
        return stage.executor.run_script(spec.ref, look, {}, 20).output

    wait_until(lambda: not left(), what="the script is gone")
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running


def test_a_flood_of_output_is_cut_to_its_end(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    result = stage.executor.run_script(spec.ref, "seq 1 20000; echo end", {}, 30)
    assert result.exit_code == 0
    assert len(result.output) <= 4096
    assert result.output.endswith("20000\nend\n")


def test_a_script_of_what_does_not_run_is_an_error(stage: Stage) -> None:
    with pytest.raises(ExecutorError):
        stage.executor.run_script(Ref("default-nothing-1-0", 1, "main"), "true", {}, 5)
    spec = stage.start(stage.spec(stage.kit.shell("exit 0")))
    stage.ended(spec)
    with pytest.raises(ExecutorError):
        stage.executor.run_script(spec.ref, "true", {}, 5)


def test_a_running_script_does_not_make_a_dead_task_look_alive(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.run_script(spec.ref, "sleep 5555 >/dev/null 2>&1 &", {}, 20)
    stage.executor.stop(spec.ref, spec.container, 20)
    assert not stage.ended(spec).running
    stage.executor.remove(spec.ref)
    assert stage.kit.remains(stage.owner, spec.ref) == []


def test_the_last_lines_of_both_streams_are_the_logs(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell("seq 1 50; sleep 0.2; echo last >&2")))
    stage.ended(spec)
    wait_until(lambda: stage.executor.logs(spec.ref, 1) == b"last\n", what="the last line")
    assert stage.executor.logs(spec.ref, 3) == b"49\n50\nlast\n"
    assert len(stage.executor.logs(spec.ref, 1000).splitlines()) == 51


def read_until(pieces: Iterator[bytes], end: bytes) -> bytes:
    """What comes until it ends so; the empty pieces in between are where we could leave."""
    output, deadline = b"", time.monotonic() + 60
    for piece in pieces:
        output += piece
        if output.endswith(end) or time.monotonic() > deadline:
            break
    assert output.endswith(end), output[-200:]
    return output


def test_a_reader_follows_the_output_from_one_attempt_to_the_next(stage: Stage) -> None:
    before = threading.active_count()
    container = stage.kit.shell('echo "begun $N"; sleep 0.5; echo trouble >&2; exit 3')
    spec = stage.start(stage.spec(container, environment={"N": "1"}))
    with closing(stage.executor.follow(spec.ref, 10)) as pieces:  # type: ignore[type-var]
        assert read_until(pieces, b"trouble\n") == b"begun 1\ntrouble\n"
        assert next(piece for piece in pieces if not piece) == b"", "the reader has a say while nothing happens"
        stage.ended(spec)
        stage.start(stage.spec(container, attempt=2, environment={"N": "2"}))
        assert read_until(pieces, b"trouble\n") == b"begun 2\ntrouble\n"
    wait_until(lambda: threading.active_count() <= before, what="no thread is left behind")


def test_a_slow_reader_holds_up_nothing_and_misses_nothing(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell("echo first; sleep 0.5; seq 1 30000; echo end")))
    wait_until(lambda: stage.executor.logs(spec.ref, 1), what="its first line")
    with closing(stage.executor.follow(spec.ref, 1)) as pieces:  # type: ignore[type-var]
        assert next(pieces)
        assert stage.ended(spec).exit_code == 0
        assert read_until(pieces, b"end\n").splitlines()[-30_001:-1] == [b"%d" % each for each in range(1, 30_001)]


def test_what_was_never_started_has_no_output(stage: Stage) -> None:
    with closing(stage.executor.follow(Ref("default-nothing-1-0", 1, "main"), 10)) as pieces:  # type: ignore[type-var]
        assert next(pieces) == b""
