"""How soon containers run, heal and are replaced: ours beside Docker Swarm, compose and the bare SDK, in one run.

Everyone makes the same containers from the same tiny image on the same engine, one contender after the other, round
after round; what counts are the ratios of the medians. A clock starts with the command a user types and stops when the
engine itself says that what was asked is there, whoever asked.

- *create*: ``reconciler apply``, ``docker service create``, ``docker-compose up``, and the SDK with as many threads as
  our agent has.
- *heal*: from the death of a container until there are as many again. Swarm is tuned (no delay before a restart).
- *update*: to another image, five at once, the new before the old, with and without a health check of 1 s; beside it
  the fewest that ran meanwhile.

Swarm mode is switched on for it, and off again if it was off. Without an engine nothing is measured; without Consul
(``.cache/consul/consul`` or ``CONSUL_BIN``) or compose, those who need it are left out.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import docker
import msgspec
import yaml

from benchmarks.measure import installed_environ
from tests.support.consul import FETCHED, ConsulAgent
from tests.support.docker import DockerEngine, connected

PARALLEL: Final = 5
THREADS: Final = 2 * (os.cpu_count() or 1)
"""As many starts at once as our agent makes by default."""
HEALS: Final = 3
"""Deaths in one round, each of another container."""
PHASES: Final = ("create", "heal", "update", "checked")
LOOK_S: Final = 0.05
MOST_S: Final = 300.0
ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "reconciler-bench"


class Wish(msgspec.Struct, frozen=True):
    """What is asked for. ``checked``: with a health check of 1 s."""

    image: str
    count: int
    checked: bool = False


class Contender(Protocol):
    """Somebody who runs containers."""

    name: str

    def create(self, wish: Wish) -> None:
        """Ask for containers, and return as soon as that is possible."""

    def remove(self) -> None:
        """Ask for none."""


class Orchestrator(Contender, Protocol):
    """Somebody who also replaces them."""

    def update(self, wish: Wish) -> None:
        """Ask for another image."""


class Ours:
    """Scheduler and agent in one process, on a Consul of its own."""

    name = "reconciler"

    def __init__(self, consul: ConsulAgent, folder: Path) -> None:
        self._store = consul.new_url()
        self._manifest = folder / "manifest.yml"
        self._version = 0
        self._asked = Wish("", 0)
        with (folder / "combined.log").open("wb") as log:
            run = ("combined", "--host", "bench", "--address", "127.0.0.1", "--http", "off", "--executor", "docker")
            arguments = [*run, "--runtime-dir", str(folder / "run"), "--store", self._store]
            self._daemon = subprocess.Popen([*PROGRAM, *arguments], cwd=ROOT, stdout=log, stderr=log, env=ENVIRON)
        wait(lambda: "bench" in output(*PROGRAM, "hosts", "--store", self._store, may_fail=True))

    def create(self, wish: Wish) -> None:
        self._apply(wish)

    def update(self, wish: Wish) -> None:
        self._apply(wish)

    def remove(self) -> None:
        self._apply(msgspec.structs.replace(self._asked, count=0))

    def close(self) -> None:
        """End the process; it leaves containers alone."""
        self._daemon.terminate()
        self._daemon.wait()

    def _apply(self, wish: Wish) -> None:
        if (wish.image, wish.checked) != (self._asked.image, self._asked.checked):
            self._version += 1
        self._asked = wish
        check = {"script": "true", "container": "main", "interval": "1s", "timeout": "5s"}
        container = {"name": "main", "type": "docker", "executor": {"image": wish.image}}
        definition = {
            "name": NAME,
            "version": self._version,
            "containers": [container],
            "drain_delay": "0s",
            "checks": [check] if wish.checked else [],
        }
        service = {
            "name": NAME,
            "task_name": NAME,
            "task_version": self._version,
            "desired": wish.count,
            "min": wish.count,
            "max": wish.count + PARALLEL,
            "rollout": {"parallel": PARALLEL, **({} if wish.checked else {"healthy_after": "1ms"})},
        }
        cluster = {"name": "bench", "services": [NAME]}
        document = {"clusters": [cluster], "services": [service], "task_definitions": [definition]}
        self._manifest.write_text(yaml.safe_dump(document), encoding="utf-8")
        output(*PROGRAM, "apply", "-f", str(self._manifest), "--store", self._store)


class Swarm:
    """Docker's own orchestrator, told to lose no time."""

    name = "swarm"

    def create(self, wish: Wish) -> None:
        health = ("--health-cmd", "true", "--health-interval", "1s") if wish.checked else ()
        rolling = ("--update-parallelism", str(PARALLEL), "--update-order", "start-first", "--update-delay", "0s")
        service = ("--name", NAME, "--replicas", str(wish.count), "--restart-delay", "0s", "--no-resolve-image", "-d")
        output("docker", "service", "create", *service, *rolling, *health, wish.image)

    def update(self, wish: Wish) -> None:
        output("docker", "service", "update", "-d", "--no-resolve-image", "--image", wish.image, NAME)

    def remove(self) -> None:
        output("docker", "service", "rm", NAME)


class Compose:
    """The compose file that people begin with."""

    name = "compose"

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = (*command, "-p", NAME, "-f", str(folder / "compose.yml"))
        self._file = folder / "compose.yml"

    def create(self, wish: Wish) -> None:
        self._file.write_text(yaml.safe_dump({"version": "3", "services": {"main": {"image": wish.image}}}))
        output(*self._command, "up", "-d", "--scale", f"main={wish.count}")

    def remove(self) -> None:
        output(*self._command, "down", "--timeout", "5")


class Bare:
    """The SDK, and nothing else: what nobody who uses it can be faster than."""

    name = f"sdk, {THREADS} threads"

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    def create(self, wish: Wish) -> None:
        client = docker.from_env(timeout=60, max_pool_size=THREADS)
        with contextlib.closing(client), ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda _: client.containers.run(wish.image, detach=True), range(wish.count)))

    def remove(self) -> None:
        self._engine.end_tasks()


PROGRAM: Final = (sys.executable, "-m", "reconciler")
ENVIRON: Final = installed_environ()


class Bench:
    """What was measured: seconds by what was done and by whom."""

    def __init__(self, engine: DockerEngine, contenders: Sequence[Contender | Orchestrator]) -> None:
        self._engine = engine
        self._contenders = contenders
        self.taken: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.fewest: dict[tuple[str, str], int] = {}

    def round(self, size: int, phases: Collection[str]) -> None:
        """Everything once, by everyone."""
        plain = Wish(self._engine.image("1"), size)
        checked = msgspec.structs.replace(plain, checked=True)
        for contender in self._contenders:
            orchestrator = contender if isinstance(contender, Ours | Swarm) else None
            if not (orchestrator or "create" in phases):
                continue
            if not {"create", "heal", "update"}.isdisjoint(phases):
                with self._created(contender, plain):
                    for _ in range(HEALS if orchestrator and "heal" in phases else 0):
                        self._heal(contender, size)
                    if orchestrator and "update" in phases:
                        self._update(orchestrator, plain)
            if orchestrator and "checked" in phases:
                with self._created(contender, checked):
                    self._update(orchestrator, checked)

    def show(self) -> None:
        """The table."""
        for what, by_whom in self.taken.items():
            ours = statistics.median(by_whom[Ours.name]) if Ours.name in by_whom else None
            for name, seconds in by_whom.items():
                median = statistics.median(seconds)
                ratio = f"   ours takes {ours / median:5.2f} times as long" if ours and name != Ours.name else ""
                fewest = self.fewest.get((what, name))
                ran = "" if fewest is None else f"   never fewer than {fewest} ran"
                spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
                print(f"  {what:<34} {name:<16} {median:7.2f} s  {spread:<18}{ratio}{ran}")

    @contextlib.contextmanager
    def _created(self, contender: Contender, wish: Wish) -> Iterator[None]:
        began = time.perf_counter()
        contender.create(wish)
        wait(lambda: len(self._running()) == wish.count)
        if not wish.checked:
            self._note(f"create {wish.count}", contender, began)
        yield
        contender.remove()
        wait(lambda: not self._engine.containers())

    def _heal(self, contender: Contender, size: int) -> None:
        victim = list(self._running())[-1]  # the oldest, so each time another one
        began = time.perf_counter()
        self._engine.client.kill(victim)
        wait(lambda: victim not in self._running())
        wait(lambda: len(self._running()) == size)
        self._note(f"heal one of {size}", contender, began)

    def _update(self, contender: Orchestrator, wish: Wish) -> None:
        what = f"update {wish.count} by {PARALLEL}" + (", health check" if wish.checked else "")
        image = self._engine.image("2")
        seen: list[int] = []

        def updated() -> bool:
            running = self._running()
            seen.append(len(running))
            return list(running.values()) == [image] * wish.count

        began = time.perf_counter()
        contender.update(msgspec.structs.replace(wish, image=image))
        wait(updated)
        self._note(what, contender, began)
        key = (what, contender.name)
        self.fewest[key] = min(self.fewest.get(key, wish.count), *seen)

    def _note(self, what: str, contender: Contender, began: float) -> None:
        taken = time.perf_counter() - began
        self.taken[what][contender.name].append(taken)
        print(f"  … {contender.name}: {what}: {taken:.2f} s", file=sys.stderr, flush=True)

    def _running(self) -> dict[str, str]:
        """The image of each container that runs, by its id."""
        filters = {"label": f"reconciler.test={self._engine.run_id}", "status": "running"}
        listed: list[dict[str, Any]] = self._engine.client.containers(filters=filters)
        return {each["Id"]: each["Image"] for each in listed}


def wait(reached: Callable[[], bool]) -> None:
    """Look twenty times a second."""
    end = time.monotonic() + MOST_S
    while not reached():
        if time.monotonic() > end:
            raise SystemExit(f"containers: not reached in {MOST_S:.0f} s")
        time.sleep(LOOK_S)


def output(*command: str, may_fail: bool = False) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRON)
    if done.returncode and not may_fail:
        raise SystemExit(f"containers: {' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def swarm_mode(engine: DockerEngine) -> Iterator[None]:
    """Swarm mode; left as it was."""
    was_off = engine.client.info()["Swarm"]["LocalNodeState"] == "inactive"
    if was_off:
        output("docker", "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:0")
    try:
        yield
    finally:
        if was_off:
            output("docker", "swarm", "leave", "--force")


def compose_command() -> Sequence[str] | None:
    """How compose is called here, if it is there."""
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    return ("docker", "compose") if output("docker", "compose", "version", may_fail=True) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.containers")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--phases", choices=PHASES, nargs="+", default=PHASES, help="checked: update with health check")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders by the first word of their names")
    chosen = parser.parse_args(arguments)
    client = connected()
    if isinstance(client, str):
        print(f"containers: left out, no Docker engine answers: {client}")
        return
    engine = DockerEngine(client)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.clean)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contenders: list[Contender] = [Bare(engine)]
        if os.environ.get("CONSUL_BIN") or FETCHED.is_file():
            consul = ConsulAgent(folder / "consul")
            consul.start()
            stack.callback(consul.stop)
            ours = Ours(consul, folder)
            stack.callback(ours.close)
            contenders.append(ours)
        if shutil.which("docker"):
            stack.enter_context(swarm_mode(engine))
            contenders.append(Swarm())
            if command := compose_command():
                contenders.append(Compose(command, folder))
        if chosen.only:
            contenders = [each for each in contenders if each.name.split(",")[0] in chosen.only]
        print(f"containers: {chosen.runs} rounds of {', '.join(each.name for each in contenders)}")
        bench = Bench(engine, contenders)
        for size in chosen.sizes:
            for _ in range(chosen.runs):
                bench.round(size, chosen.phases)
        bench.show()


if __name__ == "__main__":
    main()
