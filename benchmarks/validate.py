"""How long ``validate`` takes: cold, again unchanged, with one file changed, and beside ``check-jsonschema``.

The peer gets the same files and the same schema; it is installed on demand into an environment of its own
(``.cache/check-jsonschema``). Ratios are of one run on one machine; each program is started from the shell, and what is
given is the best of some runs.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.manifests import DEFINITION, SERVICE
from benchmarks.measure import installed_environ, measure
from reconciler.manifests.load import ParseCache, load
from reconciler.manifests.schema_files import schema_folder

FILES = 2000
OBJECTS = 10_000
ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / ".cache" / "check-jsonschema"


def manifests(count: int) -> list[tuple[str, bytes]]:
    """A repository of one cluster and a file for each of its services."""
    files = [
        (f"web-{number}.yml", (SERVICE + DEFINITION).format(number=number, desired=3).encode())
        for number in range(count)
    ]
    names = ", ".join(f"web-{number}" for number in range(count))
    return [*files, ("cluster.yml", f"clusters:\n  - name: default\n    services: [{names}]\n".encode())]


def in_process() -> None:
    """What the parts take that sync uses as well, in one process on one core."""
    files = manifests(FILES)
    size_mb = sum(len(content) for _, content in files) / 1e6
    print(f"validate: {len(files)} files, {size_mb:.1f} MB; in one process")
    assert load(files).valid
    measure("cold", lambda: load(files), count=len(files), unit="files", runs=3)
    cache = ParseCache()
    load(files, cache=cache)
    measure("again, unchanged", lambda: load(files, cache=cache), count=len(files), unit="files")
    changes = iter(range(10**6))

    def one_changed() -> None:
        name, content = files[0]
        load([(name, content + f"# {next(changes)}\n".encode()), *files[1:]], cache=cache)

    measure("again, one file changed", one_changed, count=len(files), unit="files")


def from_the_shell(folder: Path) -> None:
    """What a person or a CI job waits for, and the peer on the same files."""
    for name, content in manifests(FILES):
        (folder / name).write_bytes(content)
    environ = installed_environ() | {"XDG_CACHE_HOME": str(folder / ".cache")}

    def run(*arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("reconciler")), "validate", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ, cwd=ROOT)

    print(f"validate: {FILES + 1} files; from the shell")
    cold = timed("cold", lambda: run(str(folder), "--no-cache"), runs=3)
    run(str(folder))
    again = timed("again, unchanged", lambda: run(str(folder)))
    changes = iter(range(10**6))

    def one_changed() -> None:
        with (folder / "web-0.yml").open("a") as file:
            file.write(f"# {next(changes)}\n")
        run(str(folder))

    timed("again, one file changed", one_changed)
    one = timed("one file, which is little more than the start of the program", lambda: run("examples/hello-world.yml"))
    peer = timed("check-jsonschema, the same files and schema", lambda: run_peer(folder), runs=1)
    for what, position in (("waited for", 0), ("of CPU time", 1)):
        print(
            f"  {what}: check-jsonschema takes {peer[position] / cold[position]:.1f} times as long as cold, "
            f"cold {cold[position] / again[position]:.1f} times as long as unchanged "
            f"({ratio(cold[position] - one[position], again[position] - one[position])} beside the start)"
        )


def ratio(longer: float, shorter: float) -> str:
    """How many times as long; differences may be lost in noise."""
    return f"{longer / shorter:.0f} times" if shorter > 0 else "too short to say"


def timed(what: str, run: Callable[[], None], *, runs: int = 5) -> tuple[float, float]:
    """Seconds until the command ended, and of CPU time, which others on the machine change less; the best of some."""
    used: list[float] = []

    def watched() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    taken_s = measure(what, watched, runs=runs)
    print(f"    {min(used) * 1000:66.1f} ms of CPU time")
    return taken_s, min(used)


def run_peer(folder: Path) -> None:
    """check-jsonschema over the folder."""
    schema = bundled(folder)
    files = sorted(str(path) for path in folder.glob("*.yml"))
    command = [str(PEER / "bin" / "check-jsonschema"), "--schemafile", str(schema), *files]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def install_peer() -> None:
    """Into an environment of its own, once."""
    if not (PEER / "bin" / "check-jsonschema").exists():
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        pip = [str(PEER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "check-jsonschema"], check=True)


def bundled(folder: Path) -> Path:
    """Our schemas beside each other, as the peer follows references between files."""
    into = folder / ".schemas"
    if not into.exists():
        shutil.copytree(schema_folder(), into)
    return into / "manifest.json"


def memory() -> None:
    """How much memory many objects take."""
    files = manifests(OBJECTS // 2)
    with tempfile.TemporaryDirectory() as name:
        for file, content in files:
            (Path(name) / file).write_bytes(content)
        command = [sys.executable, "-m", "reconciler", "validate", name, "--no-cache", "--format", "json"]
        done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"validate: {json.loads(done.stdout)['objects']} objects took {peak_mb:.0f} MB at most")


def main() -> None:
    """Print the tables."""
    memory()
    in_process()
    install_peer()
    with tempfile.TemporaryDirectory() as folder:
        from_the_shell(Path(folder))


if __name__ == "__main__":
    main()
