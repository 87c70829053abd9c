"""What is urgent goes first, and starves nobody."""

import pytest

from reconciler.runtime.fair_queue import FairQueue


def test_the_urgent_come_first_each_kind_in_its_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a", "b", "C", "D"):
        queue.put(name, is_urgent=name.isupper())
    assert "".join(queue.take() for _ in range(len(queue))) == "CDab"
    with pytest.raises(IndexError):
        queue.take()


@pytest.mark.parametrize("many", [True, False], ids=["many urgent ones", "many others"])
def test_neither_kind_starves_however_many_of_the_other_come(many: bool) -> None:
    queue: FairQueue[str] = FairQueue()
    taken = ""
    for _ in range(24):
        for urgent in (True, True, False) if many else (True, False, False):
            queue.put("U" if urgent else "o", is_urgent=urgent)
        taken += queue.take()
    assert taken == "UUUo" * 6


def test_the_urgent_that_pass_nobody_are_not_counted() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(9):
        queue.put("U", is_urgent=True)
        queue.take()
    queue.put("o", is_urgent=False)
    queue.put("U", is_urgent=True)
    assert queue.take() == "U"
