"""What is sent: where it follows from the repository, what fits, and that no value breaks out of its place."""

import json

import pytest

from reconciler.errors import UsageError
from reconciler.model.notifications import CommitStatus, Happening, Webhook
from reconciler.notify import requests, templates
from reconciler.notify.git_hosts import api_of
from reconciler.notify.message import Message

SHA = "6f1c2a9b3c4d5e6f708192a3b4c5d6e7f8091a2b"
REFUSED = Message(
    event=Happening.REFUSED,
    source="fleet-prod",
    environment="prod",
    revision=SHA,
    reason="web.yml:3:3: error RC021 service \"web\" has no field 'task'\n  did you mean <task_name>? & more",
    author="Ann",
    subject='Say "hello", ${nothing} <!channel>',
    link="https://example.com/?q=1",
)
STATUS = CommitStatus(token="env:T")


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/team/fleet.git", "https://api.github.com/repos/team/fleet"),
        ("git@github.com:team/fleet.git", "https://api.github.com/repos/team/fleet"),
        ("ssh://git@ssh.github.com:443/team/fleet", "https://api.github.com/repos/team/fleet"),
        ("https://github.example.com/team/fleet", "https://github.example.com/api/v3/repos/team/fleet"),
        ("https://acme.ghe.com/team/fleet", "https://api.acme.ghe.com/repos/team/fleet"),
        ("https://gitlab.com/group/sub/fleet.git", "https://gitlab.com/api/v4/projects/group%2Fsub%2Ffleet"),
        ("ssh://git@gitlab.example.com:2222/g/fleet", "https://gitlab.example.com/api/v4/projects/g%2Ffleet"),
        ("https://gitea.example.com:3000/team/fleet", "https://gitea.example.com:3000/api/v1/repos/team/fleet"),
        ("https://codeberg.org/team/fleet.git", "https://codeberg.org/api/v1/repos/team/fleet"),
    ],
)
def test_where_statuses_go_follows_from_the_repository(remote: str, url: str) -> None:
    assert api_of(STATUS, remote).statuses(SHA) == f"{url}/statuses/{SHA}"


def test_what_does_not_follow_is_said_by_the_operator() -> None:
    own = CommitStatus(token="env:T", provider="gitlab", url="https://git.lan/gl/api/v4/", repository="17")
    assert (
        api_of(own, "https://mirror.lan/x.git").statuses(SHA) == f"https://git.lan/gl/api/v4/projects/17/statuses/{SHA}"
    )
    with pytest.raises(UsageError, match=r"whose API git\.lan speaks"):
        api_of(STATUS, "https://git.lan/team/fleet")
    with pytest.raises(UsageError, match=r"what https://github\.com/fleet is called there"):
        api_of(STATUS, "https://github.com/fleet")
    with pytest.raises(UsageError, match="where everybody can read it"):
        api_of(CommitStatus(token="env:T", url="http://gitea.lan/api/v1"), "https://gitea.lan/team/fleet")


@pytest.mark.parametrize(
    ("provider", "states", "most"),
    [
        ("github", ["pending", "success", "failure", "failure", "failure", "error"], 140),
        ("gitlab", ["pending", "success", "failed", "failed", "failed", "canceled"], 255),
        ("gitea", ["pending", "success", "failure", "failure", "failure", "warning"], 255),
    ],
)
def test_each_provider_has_its_own_words_and_lengths(provider: str, states: list[str], most: int) -> None:
    api = api_of(CommitStatus(token="env:T"), f"https://{provider}.example.com/team/fleet")
    sent = []
    for event in (each for each in Happening if each is not Happening.TEST):
        message = Message(event=event, source="fleet", revision=SHA, reason="why\n" * 200)
        said = json.loads(requests.commit_status(api, "reconciler/prod", "main", message, "secret").body)
        assert most - 5 < len(said["description"]) <= most
        assert said["description"].endswith("…")
        sent.append(said["state"])
    assert sent == states


def test_json_stays_json_whatever_a_commit_is_called() -> None:
    body = '{"text": "${summary}", "blocks": [{"of": "$${x} ${subject}", "n": 3}], "${event}": null}'
    hook = Webhook(name="slack", url="env:U", body=body, escape="html", headers={"X-Team": "a"})
    sent = requests.webhook(hook, REFUSED, "https://hooks.example.com/secret", {"Authorization": "Bearer b"})
    assert json.loads(sent.body) == {
        "text": 'fleet-prod: revision 6f1c2a9b3c4d (Say "hello", ${nothing} &lt;!channel&gt;, Ann) is refused: '
        "web.yml:3:3: error RC021 service \"web\" has no field 'task' did you mean &lt;task_name&gt;? &amp; more",
        "blocks": [{"of": '${x} Say "hello", ${nothing} &lt;!channel&gt;', "n": 3}],
        "${event}": None,
    }
    assert sent.headers == {"Content-Type": "application/json", "X-Team": "a", "Authorization": "Bearer b"}
    plain = Webhook(name="ntfy", url="env:U", content="text", body="${state}: ${subject} $${x}")
    sent = requests.webhook(plain, REFUSED, "https://ntfy.example.com/fleet", {})
    assert sent.body.decode() == 'failure: Say "hello", ${nothing} <!channel> ${x}'
    assert sent.headers["Content-Type"].startswith("text/plain")


def test_a_link_holds_values_percent_encoded() -> None:
    message = Message(event=Happening.FAILED, source="a b&c", environment="prod", revision=SHA)
    assert templates.filled_link("https://x/?s=${source}&v=${short}", message) == f"https://x/?s=a%20b%26c&v={SHA[:12]}"


def test_a_header_of_the_operators_replaces_ours_however_it_is_written() -> None:
    hook = Webhook(name="a", url="env:U", body="{}", headers={"content-type": "application/x", "X-A": "public"})
    sent = requests.webhook(hook, REFUSED, "https://hooks.example.com/", {"x-a": "secret"})
    assert list(sent.headers.items()) == [("content-type", "application/x"), ("x-a", "secret")]
