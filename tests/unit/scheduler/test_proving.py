"""For how long a healthy task has to be so before it counts."""

import pytest

from reconciler.model.manifests import RolloutPolicy, Service
from reconciler.model.task import Task
from reconciler.scheduler.proving import proves_s


@pytest.mark.parametrize(("said", "seconds"), [("10s", 10.0), ("1ms", 0.0), ("1ns", 0.0)])
def test_a_service_says_how_long_and_a_millisecond_is_at_once(said: str, seconds: float) -> None:
    service = Service(name="web", task_name="web", task_version=1, desired=1, rollout=RolloutPolicy(healthy_after=said))
    task = Task(
        id="c-web-1-1",
        cluster="c",
        service="web",
        task_name="web",
        task_version=1,
        instance=1,
        host="h1",
        issue=1,
        digest="d",
        issued_at=0.0,
    )
    assert proves_s(service, None, None, task) == seconds
