"""Files of secrets: reached by whom they are for, whatever this process's umask is."""

import os
from pathlib import Path

from reconciler.executors.interface import Owner
from reconciler.executors.secret_files import SecretFiles


def test_a_process_can_pass_all_folders_that_were_made_and_no_other_is_changed(tmp_path: Path) -> None:
    theirs = tmp_path / "run"
    theirs.mkdir(mode=0o700)
    before = os.umask(0o077)
    try:
        files = SecretFiles(theirs / "reconciler" / "secrets", Owner("store", "h1@machine"), "bash")
        folder = files.write("task", {"db": b"one"})
    finally:
        os.umask(before)
    assert folder is not None
    made = [above for above in folder.parents if above.is_relative_to(theirs) and above != theirs]
    assert {above.name: above.stat().st_mode & 0o777 for above in made} == dict.fromkeys([x.name for x in made], 0o711)
    assert "reconciler" in [above.name for above in made]
    assert folder.stat().st_mode & 0o777 == 0o555
    assert theirs.stat().st_mode & 0o777 == 0o700
