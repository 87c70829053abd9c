"""The wheel holds all that the program needs when there is no checkout beside it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked somewhere else."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program of the wheel, in a folder with no checkout near it."""
    return subprocess.run(
        [sys.executable, "-m", "reconciler", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_the_wheel_carries_schemas_the_demos_example_and_types(unpacked: Path) -> None:
    package = unpacked / "reconciler"
    assert {path.name for path in (ROOT / "schemas").glob("*.json")} <= {
        path.name for path in (package / "_schemas").glob("*.json")
    }
    assert list((package / "_examples/hello-world-bash").glob("*.yml"))
    assert (package / "py.typed").is_file()
    assert not list(unpacked.glob("tests"))


def test_an_installed_program_validates_without_a_checkout(unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    good = run(unpacked, tmp_path, "validate", "examples/")
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / "broken.yml").write_text("services:\n  - nmae: web\n")
    bad = run(unpacked, tmp_path, "validate", "broken.yml")
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "broken.yml:2" in bad.stdout


def test_an_installed_program_makes_a_starter_repository(unpacked: Path, tmp_path: Path) -> None:
    made = run(unpacked, tmp_path, "init", "fleet")
    assert made.returncode == 0, made.stdout + made.stderr
    assert run(unpacked, tmp_path, "validate", "fleet", "--strict", "--policy", "fleet/policies").returncode == 0
