"""Commits are cut so that stores take them, order holds, and nothing that belongs together is torn."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import StoreTooLarge
from reconciler.store.chunks import split
from reconciler.store.commits import check_commit, size_bytes
from reconciler.store.interface import Check, Held, Limits, Operation, Put, PutIf

SMALL = Limits(operations=8, commit_bytes=400, value_bytes=100)


def test_nothing_needs_no_commit() -> None:
    assert split([], SMALL) == []
    assert split([[], []], SMALL) == []


def test_what_fits_is_one_commit() -> None:
    groups = [[Put("state/a", b"1")], [Put("state/b", b"1"), Put("state/c", b"1")]]
    assert split(groups, SMALL) == [(*groups[0], *groups[1])]


def test_a_group_is_never_torn() -> None:
    groups = [[Put(f"state/{group}/{each}", b"") for each in range(3)] for group in range(4)]
    assert [len(chunk) for chunk in split(groups, SMALL)] == [6, 6]
    assert [len(chunk) for chunk in split(groups, SMALL, spare_operations=3)] == [3, 3, 3, 3]


def test_bytes_count_as_operations_do() -> None:
    groups = [[Put(f"state/{number}", b"x" * 93)] for number in range(6)]  # 100 bytes each
    assert [len(chunk) for chunk in split(groups, SMALL)] == [4, 2]
    assert [len(chunk) for chunk in split(groups, SMALL, spare_bytes=101)] == [2, 2, 2]


def test_a_key_is_written_once_in_a_commit_and_its_last_value_last() -> None:
    groups = [[Put("state/a", b"1")], [Put("state/a", b"2")], [Put("state/b", b"1")]]
    assert split(groups, SMALL) == [(Put("state/a", b"1"),), (Put("state/a", b"2"), Put("state/b", b"1"))]


def test_checks_of_one_key_may_repeat() -> None:
    groups = [[Check("state/mark", 5), Held("sync/x", "s"), Put(f"state/{number}", b"")] for number in range(2)]
    assert len(split(groups, SMALL)) == 1


def test_a_group_that_fits_nowhere_names_its_key_and_the_numbers() -> None:
    with pytest.raises(StoreTooLarge, match=r"state/big/0: 9 operations of 99 bytes .* the store takes 8 of 400"):
        split([[Put(f"state/big/{number}", b"") for number in range(9)]], SMALL)
    with pytest.raises(StoreTooLarge, match="the store takes 6 of 100"):
        split([[Put("state/big", b"x" * 100)]], SMALL, spare_operations=2, spare_bytes=300)


operations = st.builds(
    PutIf, st.integers(0, 30).map("state/{}".format), st.binary(max_size=80), st.integers(min_value=0)
)
groups = st.lists(st.lists(operations, max_size=4, unique_by=lambda each: each.key), max_size=30)


@given(groups, st.integers(0, 3), st.integers(0, 30))
def test_whatever_is_cut_all_of_it_comes_in_order_in_commits_with_room(
    cut: list[list[Operation]], spare_operations: int, spare_bytes: int
) -> None:
    chunks = split(cut, SMALL, spare_operations=spare_operations, spare_bytes=spare_bytes)

    assert [each for chunk in chunks for each in chunk] == [each for group in cut for each in group]
    for chunk in chunks:
        check_commit(chunk, SMALL)
        assert len(chunk) + spare_operations <= SMALL.operations
        assert sum(map(size_bytes, chunk)) + spare_bytes <= SMALL.commit_bytes
    for left, right in itertools.pairwise(chunks):
        next_group = next(group for group in cut if group and group[0] is right[0])
        together = [*left, *next_group]
        keys = [each.key for each in together]
        assert (
            len(together) + spare_operations > SMALL.operations
            or sum(map(size_bytes, together)) + spare_bytes > SMALL.commit_bytes
            or len(set(keys)) < len(keys)
        ), "no commit more than needed"
