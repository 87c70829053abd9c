"""``docs/environments.md``: its files are a repository without problems, and its table is that of the schema."""

import re

from reconciler.manifests.load import load
from reconciler.manifests.render import render
from reconciler.manifests.schema_files import schemas
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
FILES = {match[1]: match[0] for match in re.findall(r"```yaml\n(# ([\w./]+).*?\n.*?)```", PAGE, re.DOTALL) if match[1]}


def test_the_files_that_it_shows_come_to_what_it_says() -> None:
    cluster = {
        "cluster.yml": "clusters: [{name: main, services: [web]}]\n",
        "overlays/staging/web.yml": "services: []\n",
    }
    files = [(name, text.encode()) for name, text in (FILES | cluster).items()]
    assert set(FILES) == {"reconciler.yaml", "services/web.yml", "overlays/prod/web.yml"}
    for environment in ("staging", "prod"):
        assert load(files, environment=environment).problems == ()
    text = render(files, "prod").yaml(with_places=False)
    for line in (
        "desired: 6",
        "min: 5",
        "memory: 1024",
        "image: registry.internal/web:1.8",
        "- LOG_LEVEL=info",
        "- CACHE=on",
    ):
        assert f"{line}\n" in text


def test_the_fields_of_a_parameter_are_all_explained() -> None:
    fields = schemas()["settings.json"]["properties"]["parameters"]["additionalProperties"]["properties"]
    table = PAGE[PAGE.index("| field |") : PAGE.index("`${NAME}` in any value")]
    assert set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines() if "|" in row))) == set(
        fields
    )
