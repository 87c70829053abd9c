"""A task with two containers and a port for each, from its manifest to what clients find in Consul."""

import json
import os
import signal
import urllib.request

import psutil
import pytest

from tests.e2e.conftest import bash_tasks
from tests.support.consul import StartConsul
from tests.support.program import Program
from tests.support.wait import wait_until

pytestmark = [pytest.mark.consul, pytest.mark.slow]

MANIFEST = """
clusters: [{name: local, services: [web]}]
services: [{name: web, task_name: web, task_version: 1, desired: 1}]
task_definitions:
  - name: web
    version: 1
    provide_port: true
    ports: [{name: metrics, tags: [prometheus]}]
    containers:
      - name: web
        type: bash
        executor: {start: ['echo web >index.html', 'exec python3 -m http.server "$PORT"']}
      - name: metrics
        type: bash
        executor: {start: ['echo metrics >index.html', 'exec python3 -m http.server "$RECONCILER_PORT_METRICS"']}
    checks:
      - {http: "http://127.0.0.1/", add_provided_port: true, interval: 200ms}
      - {http: "http://127.0.0.1/", port: metrics, interval: 200ms}
"""


def test_each_port_is_found_by_its_name_and_containers_come_and_go_together(
    program: Program, start_consul: StartConsul
) -> None:
    consul = start_consul()
    (program.folder / "manifests").mkdir()
    (program.folder / "manifests/web.yml").write_text(MANIFEST)
    daemon = program.start("dev", "manifests", "--store", consul.url, "--http", "off")
    program.use(consul.url)

    def pages() -> list[str]:
        """What clients get who look for the task by each of its names."""
        found = []
        for name in ("local-web", "local-web-metrics"):
            for entry in consul.call("GET", f"health/service/{name}?passing"):
                url = f"http://{entry['Service']['Address']}:{entry['Service']['Port']}/"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    found.append(answer.read().decode().strip())
        return found

    program.healthy("web", 1)
    wait_until(lambda: pages() == ["web", "metrics"], what="both ports are found")
    (row,) = json.loads(program.ok("tasks", "--format", "json"))
    assert list(row["ports"]) == ["metrics"]
    assert f"{row['port']}, metrics {row['ports']['metrics']}" in program.ok("tasks")
    assert consul.call("GET", "catalog/service/local-web-metrics")[0]["ServiceTags"] == ["prometheus"]

    def servers() -> set[int]:
        found = [each for each in psutil.process_iter(["cmdline"]) if "http.server" in (each.info["cmdline"] or ())]
        return {each.pid for each in found} & bash_tasks(program).get(row["id"], set())

    before = servers()
    assert len(before) == 2
    os.kill(max(before), signal.SIGKILL)
    wait_until(lambda: len(now := servers()) == 2 and not before & now, what="both containers are new")
    wait_until(lambda: pages() == ["web", "metrics"], what="both ports are found again")
    (row,) = json.loads(program.ok("tasks", "--format", "json"))
    assert row["attempt"] == 2
    assert daemon.stop(60) == 0
    assert consul.call("GET", "health/service/local-web-metrics") == []
