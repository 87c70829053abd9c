"""Broken syntax is shown where it is, in words that say what to do."""

import pytest

from reconciler.manifests.yaml_reader import read


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: b: c\n", (1, 5), "put a text that holds ': ' in quotes"),
        ("a: 1\n b: 2\n", (2, 3), "look at the indentation"),
        ("a: - b\n", (1, 4), "begin the list on a new line"),
        ("a:\n  - b\n c: 1\n", (3, 2), "look at the indentation"),
        ("- a\nb: 1\n", (2, 1), "does not line up with the list"),
        ("a: 1\nb\nc: 1\n", (3, 1), "a field without ':'"),
        ("a: [1, 2\nb: 3\n", (2, 2), "it began in line 1"),
        ("a: {x: 1\n", (2, 1), "add the missing ',' or '}'"),
        ("a: }\n", (1, 4), "a value is missing"),
        ('a: "\\q"\n', (1, 5), "write '\\\\' for a backslash"),
        ("a: b\n...\nfoo\n---\n", (3, 1), "begin another document with '---'"),
        ('a: "\\ud800"\n', (1, 7), "write the character itself"),
        ("a: 1\nb: 'x\nc: 2\n", (2, 4), "has no end"),
        ("a: @x\n", (1, 4), "can't begin with '@'"),
        ("a: `x`\n", (1, 4), "can't begin with '`'"),
        ("a: %x\n", (1, 4), "can't begin with '%'"),
        ("%FOO x\n---\na: 1\n", (1, 5), "this is not YAML"),
        ("%YAML 3.0\n---\na: 1\n", (1, 1), "this is not YAML"),
        ("a: >1x\n", (1, 6), "this is not YAML"),
    ],
)
def test_broken_syntax_is_explained(text: str, place: tuple[int, int], words: str) -> None:
    (problem,) = read(text.encode()).problems
    assert (problem.code, problem.line, problem.column) == ("RC040", *place)
    assert words in str(problem)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\tb: 1\n", (2, 1)),
        ("\ta: 1\n", (1, 1)),
        ("a:\n  b: 1\n  \tc: 2\n", (3, 3)),
        ("-\ta: 1\n", (1, 2)),
        ("a: |\n\tx\n", (2, 1)),
    ],
)
def test_a_tab_is_called_a_tab(text: str, place: tuple[int, int]) -> None:
    (problem,) = read(text.encode()).problems
    assert (problem.code, problem.line, problem.column) == ("RC042", *place)


@pytest.mark.parametrize("text", ["a:\t1\n", "a: 1\t# x\n", "a: [\n\t1\n]\n", "a: |\n  x\ty\n", 'a: "x\n\ty"\n'])
def test_tabs_are_no_problem_where_yaml_takes_them(text: str) -> None:
    assert read(text.encode()).problems == ()
