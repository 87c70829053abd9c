"""A task's log stays bounded while the task writes to it, and is read from its end."""

import subprocess
from pathlib import Path

from reconciler.executors.task_log import Logs, cut_if_long, end_line, older, tail, written_since
from tests.support.wait import wait_until


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    cut_if_long(log, 100)
    log.write_bytes(b"x" * 100)
    cut_if_long(log, 100)
    assert log.stat().st_size == 100
    assert not older(log).exists()


def test_a_long_log_is_cut_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(1000)))
    cut_if_long(log, 100)
    assert log.stat().st_size == 0
    assert older(log).stat().st_size == 100
    assert older(log).read_bytes().endswith(b"line 998\nline 999\n")
    assert {path.name for path in tmp_path.iterdir()} == {"output.log", "output.log.1"}


def test_what_was_written_since_begins_with_a_whole_line_though_the_log_was_cut_meanwhile(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    assert end_line(log) == 0
    log.write_bytes(b"a password, and no end")
    start = end_line(log)
    with log.open("ab") as file:
        file.write(b"one\ntwo\nthree")
    assert written_since(log, start, 20) == b"one\ntwo\nthree"
    assert written_since(log, start, 2) == b"two\nthree"
    assert written_since(log, start + 1, 20) == b"two\nthree", "never a part of a line"
    log.write_bytes(b"ssword\nfour\n")
    assert written_since(log, start, 20) == b"four\n"


def test_a_log_is_cut_while_it_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    most = 50_000
    with log.open("ab") as output, subprocess.Popen(["seq", "1", "3000000"], stdout=output) as writer:
        cuts = 0
        while writer.poll() is None:
            if log.stat().st_size > most:
                cut_if_long(log, most)
                cuts += 1
                # what grew anew while the last of it was copied is bounded by what comes in that time
                assert older(log).stat().st_size < 100 * most
    assert cuts > 1
    cut_if_long(log, most)
    wait_until(lambda: tail(log, 1) == b"3000000\n", what="the writer's last line")
    assert b"\0" not in log.read_bytes()


def test_the_tail_goes_back_before_the_last_cut(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    older(log).write_bytes(b"one\ntwo\nthree\n")
    log.write_bytes(b"four\nfive")
    assert tail(log, 0) == b""
    assert tail(log, 1) == b"five"
    assert tail(log, 2) == b"four\nfive"
    assert tail(log, 4) == b"two\nthree\nfour\nfive"
    assert tail(log, 99) == b"one\ntwo\nthree\nfour\nfive"
    log.unlink()
    assert tail(log, 1) == b"three\n"


def test_the_tail_of_a_big_log_is_right_at_block_borders(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    lines = [b"%07d\n" % number for number in range(100_000)]
    log.write_bytes(b"".join(lines))
    for count in (1, 8191, 8192, 8193, 50_000):
        assert tail(log, count) == b"".join(lines[-count:])


def test_a_reader_misses_nothing_by_cuts_and_by_a_folder_made_anew(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(b"zero\none\n")
    logs = Logs(most_bytes=20)
    reader = logs.follow(log, 1)
    assert next(reader) == b"one\n"
    with log.open("ab") as output:
        output.write(b"two\n" + b"x" * 20 + b"\n")
        output.flush()
        logs.cut_if_long(log)  # keeps the last 20 bytes only: the reader is too late for "two"
        output.write(b"three\n")
        output.flush()
        assert next(reader) == b"x" * 19 + b"\n"
        assert next(reader) == b"three\n"
        output.write(b"four\n")
        output.flush()
        assert next(reader) == b"four\n"
        output.write(b"five, and now it is too long again\n")
        output.flush()
    assert next(reader) == b"five, and now it is too long again\n"
    logs.cut_if_long(log)
    assert next(reader) == b""
    log.unlink()
    assert next(reader) == b""
    log.write_bytes(b"six\n")
    assert [next(reader), next(reader)] == [b"", b"six\n"]
    reader.close()  # type: ignore[attr-defined]
