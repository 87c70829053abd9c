"""Files are read with the place of every value, and none of them can crash, hang or fill the memory."""

from typing import Any

import pytest
import yaml

from reconciler.errors import UsageError
from reconciler.manifests import rules, yaml_reader
from reconciler.manifests.find import MAX_FILE_BYTES
from reconciler.manifests.nodes import Node
from reconciler.manifests.yaml_reader import MAX_ALIAS_NODES, MAX_DEPTH, MAX_PROBLEMS, read


def values(text: str | bytes, *, is_json: bool = False) -> list[Any]:
    """The documents as plain values; there must be no problem."""
    result = read(text.encode() if isinstance(text, str) else text, is_json=is_json)
    assert result.problems == ()
    assert result.complete
    return [document.value for document in result.documents]


def one_problem(text: str | bytes, *, is_json: bool = False) -> tuple[str, int, int]:
    """Code, line and column of the only problem."""
    result = read(text.encode() if isinstance(text, str) else text, is_json=is_json)
    (problem,) = result.problems
    return problem.code, problem.line, problem.column


def test_values_are_plain() -> None:
    text = "a: 1\nb: [x, 'y', \"z\", 2.5, true, null]\nc:\n  d: |\n    two\n    lines\n"
    assert values(text) == [{"a": 1, "b": ["x", "y", "z", 2.5, True, None], "c": {"d": "two\nlines\n"}}]


def test_every_value_and_key_knows_its_place() -> None:
    (root,) = read(b"a:\n  - x\n  - b: 'y'\nc: |\n  z\n").documents
    assert (root.line, root.column) == (1, 1)
    assert root.keys == {"a": (1, 1), "c": (4, 1)}
    items = root.fields["a"].items
    assert [(item.line, item.column) for item in items] == [(2, 5), (3, 5)]
    assert items[1].keys == {"b": (3, 5)}
    assert (items[1].fields["b"].line, items[1].fields["b"].column) == (3, 8)
    assert (root.fields["c"].line, root.fields["c"].column) == (4, 4)


def test_columns_count_characters_not_bytes() -> None:
    (root,) = read("{ä: b, ü: c}".encode()).documents
    assert root.keys == {"ä": (1, 2), "ü": (1, 8)}


def test_several_documents_are_read_and_empty_ones_left_out() -> None:
    assert values("---\na: 1\n---\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert values("\ufeffa: 1\r\nb: 2\r\n") == [{"a": 1, "b": 2}]


def test_anchors_stand_for_their_value_and_place() -> None:
    (root,) = read(b"a: &x [1, 2]\nb: *x\nc: &x 3\nd: *x\n").documents
    assert root.value == {"a": [1, 2], "b": [1, 2], "c": 3, "d": 3}
    assert root.fields["b"] is root.fields["a"]


def test_anchors_end_with_their_document() -> None:
    assert one_problem("a: &x 1\n---\nb: *x\n") == ("RC054", 3, 4)


def test_quoted_numbers_and_booleans_stay_text() -> None:
    assert values('a: "012"\nb: \'yes\'\nc: "~"\n') == [{"a": "012", "b": "yes", "c": "~"}]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_yaml_version_may_be_given(version: str) -> None:
    assert values(f"%YAML {version}\n---\na: 1\n") == [{"a": 1}]


# JSON.


def test_json_is_read_with_tabs_and_every_escape() -> None:
    text = '{\n\t"a":\t"\\/ \\u00e9 \\ud83d\\ude00 \\\\ud83d",\n\t"b": [1, -0.5, 1e3, true, null]\n}\n'
    assert values(text, is_json=True) == [{"a": "/ é 😀 \\ud83d", "b": [1, -0.5, 1000.0, True, None]}]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{a: 1}", (1, 2)),
        ("{'a': 1}", (1, 2)),
        ('{"a": NaN}', (1, 7)),
        ('{"a":\n Infinity}', (2, 2)),
        ('{"a": 1} {"b": 2}', (1, 10)),
        ('{"a": 1\n "b": 2}', (2, 2)),
    ],
)
def test_what_is_not_json_is_refused_in_a_json_file_at_its_place(text: str, place: tuple[int, int]) -> None:
    assert one_problem(text, is_json=True) == ("RC053", *place)


def test_half_a_surrogate_pair_in_json_is_refused() -> None:
    assert one_problem('{"a": "\\ud83d"}', is_json=True)[:2] == ("RC040", 1)


def test_deep_nesting_in_json_is_refused_at_its_place() -> None:
    text = '{"a":' + "[" * 20_000 + "]" * 20_000 + "}"
    assert one_problem(text, is_json=True) == ("RC044", 1, 5 + MAX_DEPTH)


def test_a_number_with_thousands_of_digits_in_json_does_no_harm() -> None:
    (document,) = read(f'{{"a": {"9" * 100_000}}}'.encode(), is_json=True).documents
    assert document.fields["a"].line == 1


# What could crash or hang a reader.


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "{a: " * 20_000,
        "- " * 20_000,
        "? " * 20_000,
        "[\n" * 20_000,
        "".join(f"{' ' * depth}a:\n" for depth in range(2000)),
        "a: " + "[" * 20_000 + "]" * 20_000,
    ],
    ids=["lists", "mappings", "items", "keys", "lines", "indentation", "closed"],
)
def test_deep_nesting_is_a_problem_with_a_place(text: str) -> None:
    result = read(text.encode())
    assert [problem.code for problem in result.problems] == ["RC044"]
    assert not result.complete


def test_nesting_up_to_the_limit_is_read() -> None:
    assert values("[" * MAX_DEPTH + "]" * MAX_DEPTH) != []
    assert one_problem("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == ("RC044", 1, MAX_DEPTH + 1)


def test_aliases_that_grow_exponentially_are_stopped_before_they_grow() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 60)]
    code, line, _ = one_problem("\n".join(lines))
    assert code == "RC043"
    assert line <= 6


def test_aliases_may_stand_for_many_values_up_to_the_limit() -> None:
    anchor = "a: &a [" + ", ".join("x" * 1) + "]\n"
    allowed = MAX_ALIAS_NODES // 2  # a list and its one item
    assert len(values(anchor + "b:\n" + "- *a\n" * allowed)[0]["b"]) == allowed
    assert one_problem(anchor + "b:\n" + "- *a\n" * (allowed + 1)) == ("RC043", allowed + 3, 3)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a\n  b: *a\n", "&a *a\n"])
def test_an_alias_inside_of_its_anchor_ends(text: str) -> None:
    result = read(text.encode())
    (problem,) = result.problems
    assert problem.code in {"RC054", "RC040"}


def test_many_tag_directives_do_not_take_quadratic_time() -> None:
    text = "".join(f"%TAG !a{n}! x\n" for n in range(200_000)) + "---\na: 1\n"
    assert one_problem(text) == ("RC045", 1, 1)


def test_ten_megabytes_are_refused_with_the_limit() -> None:
    result = read(b"a: 1\n" * 2_000_000)
    (problem,) = result.problems
    assert problem.code == "RC050"
    assert "4 MiB" in problem.message


def test_a_file_of_the_largest_size_is_read() -> None:
    text = b"a:\n" + b"- xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * ((MAX_FILE_BYTES - 3) // 55)
    (document,) = read(text).documents
    assert len(document.value["a"]) == (MAX_FILE_BYTES - 3) // 55


def test_a_million_mistakes_are_not_all_kept() -> None:
    assert len(read(b"a: 1\n" * 200_000).problems) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "raw",
    [
        bytes(range(256)),
        b"\x1f\x8b\x08\x00" + bytes(range(128, 256)),
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a: \xc0\xaf\n",
        "a: é\n".encode("latin-1"),
        "a: 1\n".encode("utf-16"),
        "a: 1\n".encode("utf-32"),
    ],
)
def test_binary_files_are_a_problem(raw: bytes) -> None:
    result = read(raw)
    (problem,) = result.problems
    assert problem.code in {"RC046", "RC047"}


def test_what_is_not_utf_8_is_shown_at_its_character() -> None:
    assert one_problem(b"a: 1\nb: \xc3\xa4\xff\n") == ("RC046", 2, 5)


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x7f", "\ufffe"])
def test_control_characters_are_shown_at_their_place(character: str) -> None:
    assert one_problem(f"a: 1\nb: x{character}\n") == ("RC047", 2, 5)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\n\n"])
def test_an_empty_file_is_an_error_since_it_may_have_been_cut_off(text: str) -> None:
    result = read(text.encode())
    assert [(problem.code, problem.severity) for problem in result.problems] == [("RC051", rules.Severity.ERROR)]


@pytest.mark.parametrize("text", ["# nothing\n", "---\n", "---\n---\n", "null\n", "~"])
def test_a_file_that_declares_nothing_is_a_warning(text: str) -> None:
    result = read(text.encode())
    found = [(problem.code, problem.severity) for problem in result.problems]
    assert found == [("RC052", rules.Severity.WARNING)]


# What is refused although YAML has it.


def test_tags_make_nothing_and_the_value_is_read_all_the_same() -> None:
    result = read(b"a: !!python/object/apply:os.system ['false']\nb: !x 5\nc: !!int 5\nd: !!str 5\n")
    assert [(problem.code, problem.line, problem.column) for problem in result.problems] == [
        ("RC045", 1, 4),
        ("RC045", 2, 4),
        ("RC045", 3, 4),
        ("RC045", 4, 4),
    ]
    assert result.documents[0].value == {"a": ["false"], "b": 5, "c": 5, "d": "5"}


def test_all_duplicate_keys_are_found_and_the_first_one_counts() -> None:
    result = read(b"a: 1\nb: {c: 1, c: 2}\na: 3\n'a': 4\n")
    assert [(problem.code, problem.line, problem.column) for problem in result.problems] == [
        ("RC041", 2, 11),
        ("RC041", 3, 1),
        ("RC041", 4, 1),
    ]
    assert result.documents[0].value == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize("key", ["yes", "1", "1.5", "~", "012", "2024-01-01", "[a]", "{a: b}"])
def test_keys_are_text(key: str) -> None:
    code, line, _ = one_problem(f"? {key}\n: 1\n")
    assert (code, line) == ("RC049", 1)


def test_a_missing_key_is_a_problem() -> None:
    assert one_problem("a: 1\n? \n: 2\n")[:2] == ("RC049", 2)


def test_an_alias_may_be_a_key_if_it_is_text() -> None:
    assert values("a: &k name\n*k : 1\n") == [{"a": "name", "name": 1}]
    assert one_problem("a: &k [1]\n*k : 1\n")[0] == "RC049"


def test_merge_keys_are_refused_and_the_rest_is_read() -> None:
    result = read(b"a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n")
    assert [(problem.code, problem.line, problem.column) for problem in result.problems] == [("RC048", 3, 3)]
    assert result.documents[0].value == {"a": {"x": 1}, "b": {"y": 2}}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert values('"<<": 1') == [{"<<": 1}]


def test_what_was_read_before_a_syntax_error_is_kept() -> None:
    result = read(b"a: 1\n---\nb: [\n")
    assert [document.value for document in result.documents] == [{"a": 1}]
    assert not result.complete


def test_without_libyaml_it_says_so_instead_of_being_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader.yaml, "__with_libyaml__", False)
    with pytest.raises(UsageError, match="without libyaml") as raised:
        read(b"a: 1\n")
    assert raised.value.hint is not None


def test_libyaml_is_here() -> None:
    assert yaml.__with_libyaml__


def test_sizes_count_every_value_inside() -> None:
    (root,) = read(b"a: [1, 2, {b: 3}]\n").documents
    assert isinstance(root, Node)
    assert root.size == 6
