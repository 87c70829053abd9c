"""An adoption that was ordered and is not carried out yet can be looked at and taken back."""

import json
from pathlib import Path

from click.testing import CliRunner

from reconciler.cli.main import reconciler
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.intents import Adoption, SourceIntent
from reconciler.store.interface import Put
from reconciler.wiring import open_store
from tests.support.sync import make_ours


def test_cancel_shows_what_it_takes_back_and_with_dry_run_takes_nothing_back(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/store.db"
    ordered = Adoption(origins=("old",), by="ann", since=1.0)
    with open_store(url) as store:
        make_ours(store)
        store.commit([Put(keys.source_intent("fleet"), encode(SourceIntent(source="fleet", adoption=ordered)))])

    def cancel(*options: str) -> str:
        command = ["adopt", "fleet", "--cancel", "--store", url, *options]
        return CliRunner().invoke(reconciler, command, catch_exceptions=False).output

    assert cancel("--dry-run") == "fleet would not adopt all of source old, ordered by ann\n"
    assert json.loads(cancel("--dry-run", "--format", "json"))["taken_back"]["origins"] == ["old"]
    assert cancel() == "fleet adopts nothing; taken back: all of source old, ordered by ann\n"
    assert json.loads(cancel("--format", "json")) == {"source": "fleet", "taken_back": None}
    assert cancel("--dry-run") == "fleet adopts nothing; there is nothing to take back\n"
