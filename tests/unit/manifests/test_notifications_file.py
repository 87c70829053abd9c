"""The file of notifications: what is wrong in it is said with its line, and a secret in it is not shown."""

import re
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.manifests.notifications_file import read_notifications
from reconciler.model.notifications import Notifications
from reconciler.notify.receivers import faults

ROOT = Path(__file__).parents[3]


def read(folder: Path, text: str) -> Notifications:
    path = folder / "notify.yml"
    path.write_text(text)
    return read_notifications(path, faults)


def test_the_example_and_that_of_the_page_can_be_used(tmp_path: Path) -> None:
    page = (ROOT / "docs/reporting.md").read_text(encoding="utf-8")
    for text in (*re.findall(r"```yaml\n(.*?)```", page, re.DOTALL), (ROOT / "examples/deploy/notify.yml").read_text()):
        made = read(tmp_path, text)
        assert [each.token for each in made.commit_statuses] == ["env:GITHUB_TOKEN"]
        assert [each.name for each in made.webhooks] == ["slack"]


def test_a_secret_of_digits_alone_is_not_shown_either(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, "commit_statuses: [{token: 123456789012}]")
    assert "commit_statuses[0].token must be text" in raised.value.message
    assert "123456789012" not in raised.value.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", ":1:1: nobody is told: there is neither a commit status nor a webhook"),
        ("webhooks: hush-hush", ":1:11: webhooks must be a list"),
        ("commit_statuses: [{token: hush-hush}]", ":1:27: commit_statuses[0].token is '***'"),
        ("webhooks: [{name: a, url: https://x/hush-hush, body: '{}'}]", ":1:27: webhooks[0].url is '***'"),
        ("commit_statuses: [{token: !hush-hush x}]", ":1:27: the tag *** is not read: "),
        ("commit_statuses: [{token: !<hush-hush> x}]", ":1:27: the tag *** is not read: "),
        ("commit_statuses: [{token: *hush-hush}]", ":1:27: the alias **** has no anchor &*** before it"),
        ("commit_statuses: [{token: &hush-hush [*hush-hush]}]", ":1:39: the alias **** stands inside of what it names"),
        (
            "webhooks: [{name: a, url: 'env:U', body: '{}', secret_headers: {A: hush-hush}}]",
            ":1:68: webhooks[0].secret_headers.A is '***'",
        ),
        (
            r"""webhooks: [{name: a, url: 'env:U', body: '["\u0024{subjekt}"]'}]""",
            ":1:42: ${subjekt} is not known here; ",
        ),
        ("webhooks: [{name: a, url: 'env:U', body: '{\"a\": NaN}'}]", ":1:42: this is not JSON: NaN is none "),
        ("webhooks: [{name: a, url: 'env:U', body: '{\"a\": 1e999}'}]", ":1:42: this is not JSON: "),
        (f"webhooks: [{{name: a, url: 'env:U', body: '{'[' * 5000}'}}]", ":1:42: this JSON is nested too deeply"),
        ("commit_statuses: [{token: 'env:T'}, {token: 'env:T'}]", ":1:37: two receivers are called commit-status"),
        ("webhooks:\n- {name: a, url: 'env:U', body: '{'}", ":2:33: this is not JSON: "),
        ("webhooks:\n- {name: a, url: 'env:U', body: '[\"${subjekt}\"]'}", ":2:33: ${subjekt} is not known here; "),
        ("webhooks:\n- {name: a, url: 'env:U', body: '[\"${\"]'}", ":2:33: ${ begins a name, and none follows; "),
        ("webhooks:\n- {name: a, url: 'env:U', body: '{}', headers: {Host: x}}", ":2:55: the header Host follows "),
        ("commit_statuses: [{token: 'env:T', timeout: 2m}]", ":1:45: a timeout is at most 60s"),
        ("link: 'https://x/${author}'\ncommit_statuses: [{token: 'env:T'}]", ":1:7: ${author} is not known here; "),
    ],
)
def test_a_mistake_is_said_with_its_place_and_without_any_secret(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, text)
    assert raised.value.message.splitlines()[1].startswith(f"{tmp_path}/notify.yml{problem}")
    assert len(raised.value.message.splitlines()) == 2
    assert "hush" not in raised.value.message
