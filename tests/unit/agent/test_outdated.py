"""What counts as a changed value, and what does not."""

from reconciler.agent.outdated import ABSENT, SecretsView, changed, fingerprint
from reconciler.model.manifests import BashContainer, BashExecutor
from reconciler.model.secrets import EnvFrom, Place, Secret

DB = Place("kv", "web/db")
TOKEN = Place("file", "token")
CONTAINER = BashContainer(
    name="main",
    executor=BashExecutor(
        start=("true",),
        env_from=(EnvFrom(name="DB_PASSWORD", kv="web/db"),),
        secrets=(Secret(name="token", file="token", optional=True),),
    ),
)
KEPT = fingerprint("key", ["one", "two"])


def view(db: str | None, token: str | None, key: str = "key") -> SecretsView:
    readings = {DB: db, TOKEN: token}
    return SecretsView(began=1.0, key=key, readings={place: mark for place, mark in readings.items() if mark})


def test_a_value_that_is_another_by_now_is_named() -> None:
    assert changed(CONTAINER, KEPT, view("one", "two")) == ""
    assert changed(CONTAINER, KEPT, view("other", "two")) == "DB_PASSWORD (kv web/db) changed"
    assert changed(CONTAINER, KEPT, view("one", "other")) == "secret token (file token) changed"


def test_what_is_gone_is_a_change_only_if_a_container_may_start_without_it() -> None:
    assert changed(CONTAINER, KEPT, view(ABSENT, "two")) == ""
    assert changed(CONTAINER, KEPT, view("one", ABSENT)) == "secret token (file token) changed"
    without = fingerprint("key", ["one", ABSENT])
    assert changed(CONTAINER, without, view("one", ABSENT)) == ""
    assert changed(CONTAINER, without, view("one", "there now")) == "secret token (file token) changed"


def test_what_nobody_can_tell_is_no_change() -> None:
    assert changed(CONTAINER, KEPT, view(None, None)) == "", "nothing could be read"
    assert changed(CONTAINER, KEPT, view("other", "other", key="another key")) == "", "the key was lost"
    assert changed(CONTAINER, "", view("other", "other")) == "", "an older agent started it"
    assert changed(CONTAINER, fingerprint("key", ["one"]), view("other", "other")) == "", "it is of another definition"
