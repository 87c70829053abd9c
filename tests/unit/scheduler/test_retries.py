"""When a failed task is tried again."""

from reconciler.model.task import Task
from reconciler.scheduler.replicas import RETRY_MOST_S, retry_delay_s


def failed(retries: int, instance: int = 0) -> Task:
    return Task(
        id=f"main-web-1-{instance}", cluster="main", service="web", task_name="web", task_version=1,
        instance=instance, host="h1", issue=7, digest="d", issued_at=0.0, retries=retries,
    )  # fmt: skip


def test_a_task_is_tried_again_at_once_then_later_and_later_and_at_last_every_five_minutes() -> None:
    assert retry_delay_s(failed(0)) == 0.0
    for retries, most in ((1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, RETRY_MOST_S), (60, RETRY_MOST_S)):
        assert 0.8 * most <= retry_delay_s(failed(retries)) <= most


def test_tasks_that_failed_together_are_not_tried_again_together() -> None:
    delays = {round(retry_delay_s(failed(3, instance)), 1) for instance in range(50)}
    assert len(delays) > 25
    assert delays == {round(retry_delay_s(failed(3, instance)), 1) for instance in range(50)}, "two looks differ"
