"""How long ``validate`` takes over many files: cold, again unchanged, and with one file changed."""

from benchmarks.measure import measure
from reconciler.manifests.load import ParseCache, load

FILES = 2000

MANIFEST = """\
services:
  - name: web-{number}
    task_name: web-{number}
    task_version: 1
    desired: 3
task_definitions:
  - name: web-{number}
    version: 1
    provide_port: true
    memory: 128
    tags: [urlprefix-/web-{number}]
    containers:
      - name: web
        type: docker
        executor:
          image: example/web:{number}
          container_port: 8080
          env: [LEVEL=info, NAME=web-{number}]
    checks:
      - http: http://127.0.0.1/healthz
        add_provided_port: true
        interval: 10s
        timeout: 2s
"""


def manifests() -> list[tuple[str, bytes]]:
    """A repository of one cluster and a file for each of its services."""
    files = [(f"web-{number}.yml", MANIFEST.format(number=number).encode()) for number in range(FILES)]
    names = ", ".join(f"web-{number}" for number in range(FILES))
    return [*files, ("cluster.yml", f"clusters:\n  - name: default\n    services: [{names}]\n".encode())]


def main() -> None:
    """Print the table."""
    files = manifests()
    size_mb = sum(len(content) for _, content in files) / 1e6
    print(f"validate: {len(files)} files, {size_mb:.1f} MB")
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


if __name__ == "__main__":
    main()
