"""What check results come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.health import judge
from reconciler.health.interface import Reading
from reconciler.health.judge import Trail
from reconciler.model.manifests import Check
from reconciler.model.task import Health
from tests.support.registrations import registration

P, W, C, U = Health.PASSING, Health.WARNING, Health.CRITICAL, Health.UNKNOWN


@pytest.mark.parametrize(
    ("checks", "together"),
    [
        ([], P),
        ([P, P], P),
        ([P, W], W),
        ([W, U], U),
        ([P, U], U),
        ([U, C], C),
        ([W, C, P], C),
    ],
)
def test_the_worst_check_counts(checks: list[Health], together: Health) -> None:
    readings = [Reading(health, f"output {position}") for position, health in enumerate(checks)]
    found = judge.combine(readings)
    assert found.health is together
    assert not checks or found in readings


@pytest.mark.parametrize(("code", "health"), [(0, P), (1, W), (2, C), (127, C), (-9, C), (None, C)])
def test_a_script_says_by_its_exit_code_how_the_task_is(code: int | None, health: Health) -> None:
    assert judge.script_reading(code, "hello", 5.0).health is health


def test_a_script_that_took_too_long_says_so() -> None:
    assert judge.script_reading(None, "half", 5.0).output == "the script took longer than 5 s. half"


@pytest.mark.parametrize(
    ("status", "health"), [(200, P), (204, P), (299, P), (301, C), (302, C), (404, C), (429, W), (500, C), (503, C)]
)
def test_an_http_status_is_judged_as_consul_judges_it(status: int, health: Health) -> None:
    assert judge.http_reading(status, "", "", "GET", "http://x/").health is health


@pytest.mark.parametrize(
    ("url", "with_port"),
    [
        ("http://127.0.0.1", "http://127.0.0.1:20001"),
        ("http://127.0.0.1/health", "http://127.0.0.1:20001/health"),
        ("https://user:pw@host.example/a?b=c#d", "https://user:pw@host.example:20001/a?b=c#d"),
        ("http://[::1]/health", "http://[::1]:20001/health"),
        ("http://127.0.0.1:80/health", "http://127.0.0.1:20001/health"),
        ("http://[no-url/health", "http://[no-url/health"),  # it fails when it runs, and keeps no other from running
    ],
)
def test_the_tasks_port_goes_into_the_host_part_of_a_url(url: str, with_port: str) -> None:
    task = registration(port=20001).task
    assert judge.with_port(Check(http=url, add_provided_port=True), task).http == with_port
    assert judge.with_port(Check(http=url), task).http == url
    assert judge.with_port(Check(http=url, add_provided_port=True), registration().task).http == url


def test_a_check_may_be_of_a_named_port() -> None:
    task = registration(port=20001, named={"metrics": 20002}).task
    assert judge.with_port(Check(http="http://127.0.0.1/", port="metrics"), task).http == "http://127.0.0.1:20002/"
    assert judge.with_port(Check(tcp="localhost", port="metrics"), task).tcp == "localhost:20002"
    assert judge.with_port(Check(tcp="localhost", add_provided_port=True), task).tcp == "localhost:20001"


@pytest.mark.parametrize(
    ("address", "with_port"),
    [
        ("127.0.0.1", "127.0.0.1:20001"),
        ("localhost", "localhost:20001"),
        ("127.0.0.1:80", "127.0.0.1:20001"),
        ("[::1]", "[::1]:20001"),
        ("[::1]:80", "[::1]:20001"),
        (":80", ":20001"),
    ],
)
def test_the_tasks_port_goes_behind_a_tcp_address(address: str, with_port: str) -> None:
    task = registration(port=20001).task
    assert judge.with_port(Check(tcp=address, add_provided_port=True), task).tcp == with_port


def test_a_check_is_unknown_until_its_first_result() -> None:
    assert Trail().reading.health is U
    assert Trail().after(Reading(P), Check(ttl="1s")).reading.health is P
    assert Trail().after(Reading(C), Check(ttl="1s")).reading.health is C


def test_successes_and_failures_count_only_in_a_row() -> None:
    check = Check(http="http://x", success_before_passing=2, failures_before_critical=3)
    seen, trail = [], Trail()
    for result in (P, C, P, W, C, C, P, C, C, C, P, P):
        trail = trail.after(Reading(result), check)
        seen.append(trail.reading.health)
    assert seen == [U, U, U, W, W, W, W, W, W, C, C, P]


@given(st.lists(st.sampled_from([P, W, C]), min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_a_verdict_is_always_that_of_a_long_enough_row(results: list[Health], good: int, bad: int) -> None:
    check = Check(http="http://x", success_before_passing=good, failures_before_critical=bad)
    trail = Trail()
    for count, result in enumerate(results, 1):
        before, trail = trail.reading.health, trail.after(Reading(result), check)
        if trail.reading.health is not before:
            row = max(1, bad if result is C else good)
            assert len(results[:count]) >= row
            assert all((each is C) == (result is C) for each in results[count - row : count])


def test_the_result_of_a_script_outlives_the_restart_of_an_agent() -> None:
    assert judge.script_ttl_s(Check(script="true", interval="1s", timeout="1s")) >= 60
    assert judge.script_ttl_s(Check(script="true", interval="1m", timeout="10s")) == 190
