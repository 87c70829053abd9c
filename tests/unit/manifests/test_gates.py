"""A definition that changed without a new version: pointed at is the file that changed it."""

import pytest

from reconciler.manifests.gates import changed_versions
from tests.unit.manifests.environment_files import REPOSITORY, SETTINGS, Files

PATCH = """\
services: [{name: worker, desired: 3}]
task_definitions:
  - name: web
    version: 1
    containers:
      - name: side
        executor:
          env: [LOG=debug]
          image: side:1
"""


def places(now: Files, before: Files) -> list[tuple[str, int, int]]:
    """Of the one problem that every change here is."""
    listed = [[(name, text.encode()) for name, text in files.items()] for files in (now, before)]
    problems, notes = changed_versions(*listed, "main")
    assert notes == []
    assert [each.code for each in problems] == ["RC065"] * len(problems)
    return [(each.file, each.line, each.column) for each in problems]


WITH_PATCH = REPOSITORY | {"overlays/prod/a.yml": PATCH}
LATER = PATCH.replace("side:1", "side:2")


@pytest.mark.parametrize(
    ("now", "before", "place"),
    [
        (WITH_PATCH | {"overlays/prod/a.yml": LATER}, WITH_PATCH, ("overlays/prod/a.yml", 9, 11)),
        (WITH_PATCH, REPOSITORY, ("overlays/prod/a.yml", 8, 11)),
        (
            REPOSITORY | {"reconciler.yaml": SETTINGS.replace("registry.prod", "registry.eu")},
            REPOSITORY,
            ("reconciler.yaml", 11, 7),
        ),
        (
            WITH_PATCH | {"web.yml": WITH_PATCH["web.yml"].replace("LOG=debug", "LOG=info")},
            WITH_PATCH,
            ("web.yml", 11, 5),
        ),
    ],
    ids=["overlay", "new patch", "parameter", "base"],
)
def test_a_change_is_pointed_at_where_it_was_made(now: Files, before: Files, place: tuple[str, int, int]) -> None:
    assert places(now, before) == [place]
