"""The git repository of ``reconciler demo``: the example's manifests, with a second version at hand."""

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from reconciler.errors import ReconcilerError

EXAMPLE = "hello-world-bash"


class DemoRepository:
    """A repository of its own in ``path``, made from the example that ships with the program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = 1
        shutil.copytree(_example(), path)
        self._git("init", "--quiet", "--initial-branch=main")
        self._commit("Run hello, version 1")

    def commit_next_version(self) -> int:
        """Commit a change of every definition and of the services that use them; returns the new version."""
        old, new = f"version: {self._version}\n", f"version: {self._version + 1}\n"
        for manifest in sorted(self.path.glob("*.y*ml")):
            manifest.write_text(manifest.read_text().replace(old, new))
        self._version += 1
        self._commit(f"Upgrade hello to version {self._version}")
        return self._version

    def _commit(self, subject: str) -> None:
        self._git("add", "--all")
        self._git("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false",
                  "commit", "--quiet", "-m", subject)  # fmt: skip

    def _git(self, *arguments: str) -> None:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        try:
            subprocess.run(
                ["git", "-C", str(self.path), *arguments], check=True, capture_output=True, text=True, env=environment
            )
        except FileNotFoundError as error:
            raise ReconcilerError("the demo needs git", hint="install it: apt-get install git") from error
        except subprocess.CalledProcessError as error:
            raise ReconcilerError(f"git {arguments[0]} failed: {error.stderr.strip()}") from error


def _example() -> Path:
    """The example's folder: inside the installed package, or beside it in a checkout."""
    installed = Path(str(files("reconciler"))) / "_examples" / EXAMPLE
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[2] / "examples" / EXAMPLE
