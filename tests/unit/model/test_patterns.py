"""Patterns of constraints mean what they mean elsewhere, and never keep a scheduler busy."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.patterns import BadPattern, Pattern, pattern

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\w", r"\.", r"[\d-]", "-"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{1,}"])
PATTERNS = st.recursive(
    st.builds(lambda atom, repeat: atom + repeat, ATOMS, REPEATS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(st.lists(inner, min_size=1, max_size=3), REPEATS).map(lambda pair: f"({'|'.join(pair[0])}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(text=PATTERNS, values=st.lists(st.text("ab1.-c_", max_size=6), min_size=5, max_size=10))
@settings(max_examples=300, deadline=None, database=None)
def test_a_pattern_matches_what_it_matches_elsewhere(text: str, values: list[str]) -> None:
    ours, theirs = Pattern(text), re.compile(text, re.ASCII)
    assert [ours.matches(each) for each in values] == [theirs.fullmatch(each) is not None for each in values], text


def test_a_pattern_that_would_keep_others_busy_for_years_is_matched_at_once() -> None:
    assert not Pattern("(a*)*(a|a)*(a?){50}b").matches("a" * 200)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web-(1|2", "'(' at 5 is not closed"),
        ("web)", "')' at 4 closes nothing"),
        ("*", "has nothing to repeat"),
        ("a**", "repeats a repetition"),
        ("[a", "'[' at 1 is not closed"),
        ("[b-a]", "the range b-a is none"),
        ("^web", "not needed: the whole value has to match"),
        ("(?i)web", "not supported"),
        (r"(a)\1", "not supported"),
        ("a{5,2}", "less at most than at least"),
        ("a{1000}", "begins no"),
        ("(a{100}){100}", "too large"),
        ("(" * 200, "nested deeper"),
        ("a\\", "not supported"),
    ],
)
def test_what_is_not_of_the_dialect_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadPattern, match=re.escape(why)):
        Pattern(text)
    assert pattern(text) is None
