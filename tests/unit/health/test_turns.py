"""Checks that load the machine take turns."""

from reconciler.health.turns import Turns


def test_a_few_run_at_once_and_the_urgent_come_first() -> None:
    turns: Turns[str] = Turns(2, counts_s=1.0)
    for name in ("a", "b", "c", "d"):
        turns.ask(name, is_urgent=name == "d")
    assert [turns.take(0.0), turns.take(0.0), turns.take(0.0)] == ["d", "a", None]
    turns.ended("d")
    assert [turns.take(0.1), turns.take(0.1)] == ["b", None]


def test_what_hangs_keeps_nobody_out_for_long() -> None:
    turns: Turns[str] = Turns(1, counts_s=1.0)
    turns.ask("hangs", is_urgent=False)
    assert turns.take(5.0) == "hangs"
    assert turns.next_at(5.0) is None, "nobody waits"
    turns.ask("waits", is_urgent=False)
    assert turns.take(5.5) is None
    assert turns.next_at(5.5) == 6.0
    assert turns.take(6.0) == "waits"


def test_many_urgent_ones_leave_the_others_a_turn_in_four() -> None:
    turns: Turns[int] = Turns(1, counts_s=1.0)
    turns.ask(0, is_urgent=False)
    taken = []
    for urgent in range(1, 9):
        turns.ask(urgent, is_urgent=True)
        each = turns.take(0.0)
        assert each is not None
        turns.ended(each)
        taken.append(each)
    assert taken == [1, 2, 3, 0, 4, 5, 6, 7]
