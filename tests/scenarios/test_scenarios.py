"""Replays every text in this folder; each prints what it says, or the difference is shown."""

from pathlib import Path

import pytest

from tests.scenarios.script import read, replay, write

TEXTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_scenario(path: Path, updates_scenarios: bool) -> None:
    blocks = replay(path)
    if updates_scenarios:
        path.write_text(write(blocks), encoding="utf-8")
    # compared as text, so that pytest shows the difference as a reader would see it
    assert write(blocks) == write(read(path.read_text(encoding="utf-8")))


def test_a_text_is_written_as_it_was_read() -> None:
    for path in TEXTS:
        assert write(read(path.read_text(encoding="utf-8"))) == path.read_text(encoding="utf-8"), path.name
