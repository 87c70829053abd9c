"""A host's execution policy as a file, and what ``validate`` says of manifests that go against it."""

from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.executors.host_policy import faults, violations
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.checks import Checks
from reconciler.manifests.host_policy_file import read_host_policy
from reconciler.manifests.host_policy_rules import HostCheck
from reconciler.manifests.load import load
from reconciler.model.host_policy import HostPolicy, MountRule

MANIFEST = b"""\
clusters: [{name: main, services: [web]}]
services: [{name: web, task_name: web, task_version: 1, desired: 1}]
task_definitions:
  - name: web
    version: 1
    containers:
      - name: web
        type: docker
        executor:
          image: nginx
          flags:
            - --init
            - --pid=host
"""


def read(text: str) -> HostPolicy:
    return read_host_policy("policy.yml", text.encode(), faults)


def test_the_example_can_be_used() -> None:
    example = Path(__file__).parents[3] / "examples/deploy/policy.yml"
    assert read_host_policy(str(example), example.read_bytes(), faults).executors == ("docker",)


def test_what_is_left_out_is_safe() -> None:
    assert read("{}") == HostPolicy()
    made = read("executors: [docker]\nmounts: [{path: /srv/data, read_only: true}]\n")
    assert made == HostPolicy(executors=("docker",), mounts=(MountRule(path="/srv/data", read_only=True),))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "policy.yml:1:1: "),
        ("users: [1000]\n", "policy.yml:1:9: users[0] must be text"),
        (
            "executors: [docker]\nimage: [x]\n",
            "policy.yml:2:1: the document has no field 'image'; did you mean images?",
        ),
        ("mounts:\n  - path: srv\n", "policy.yml:2:11: "),
        ("flags:\n  - --pid=host\n  - --privileged\n", "policy.yml:3:5: --privileged is allowed by privileged"),
        ("refused_flags: [--privilegd]\n", "policy.yml:1:17: --privilegd is not a flag"),
        ("flags: [", "policy.yml:2:1: "),
        ("{}\n---\nusers: []\n", "policy.yml:1:1: this has to be one document, and here are 2"),
    ],
)
def test_a_policy_with_a_mistake_is_none_and_says_where(text: str, place: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(text)
    assert raised.value.message.splitlines()[1].startswith(place)


def test_what_a_host_would_reject_is_reported_at_its_line() -> None:
    checks = Checks(host_policies=(HostCheck("policy.yml", read("users: ['1000:*']"), violations),))
    flag, user = sorted(map(str, load([("web.yml", MANIFEST)], cache=ParseCache(checks)).problems))[::-1]
    assert user == (
        "web.yml:10:11: error RC067 task definition 'web' version 1: user-not-allowed: container web names no user; "
        "in policy.yml, users allows 1000:*"
    )
    assert flag == (
        "web.yml:13:15: error RC067 task definition 'web' version 1: flag-not-allowed: container web uses --pid=host; "
        "in policy.yml, flags: ['--pid=host'] allows it"
    )


def test_another_policy_is_another_question() -> None:
    one, other = (
        Checks(host_policies=(HostCheck("policy.yml", read(text), violations),)) for text in ("{}", "users: [a]")
    )
    assert len({one.digest, other.digest, Checks().digest}) == 3
