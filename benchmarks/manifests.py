"""The manifests that benchmarks write: a service with a definition of its own, by number."""

DEFINITION = """\
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
SERVICE = """\
services:
  - name: web-{number}
    task_name: web-{number}
    task_version: 1
    desired: {desired}
"""
