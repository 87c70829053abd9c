"""An agent's process that starts a container and then waits to be killed: ``agent_process KIND FOLDER OWNER SPEC``."""

import signal
import sys
from pathlib import Path

import msgspec

from reconciler.executors.bash import Bash
from reconciler.executors.docker import Docker
from reconciler.executors.interface import Executor, Owner, Spec


def main() -> None:
    kind, folder, owner_text, spec_text = sys.argv[1:]
    owner = msgspec.json.decode(owner_text, type=Owner)
    executor: Executor = Bash(owner, Path(folder)) if kind == "bash" else Docker(owner)
    executor.observe()
    print("here", flush=True)
    executor.start(msgspec.json.decode(spec_text, type=Spec))
    print("started", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
