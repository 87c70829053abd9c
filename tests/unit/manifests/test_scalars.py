"""What plain scalars mean: numbers where all YAML readers agree, doubt where they do not, text else."""

import math

import pytest

from reconciler.manifests.scalars import TOO_LONG, Unquoted, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", True),
        ("OFF", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e5", 100000.0),
        ("-.5", -0.5),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("web", "web"),
        ("nothing", "nothing"),
        ("nullable", "nullable"),
        ("yesterday", "yesterday"),
        ("1.2.3", "1.2.3"),
        ("10s", "10s"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("5000:5000", "5000:5000"),
        ("nginx:1.29-alpine", "nginx:1.29-alpine"),
        ("--net=host", "--net=host"),
        ("-", "-"),
        (".", "."),
        ("+", "+"),
        ("=", "="),
    ],
)
def test_what_all_readers_take_alike_is_taken(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    found = resolve(".NaN")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("012", "an octal number"),
        ("-0755", "an octal number"),
        ("08", "an octal number"),
        ("0o17", "an octal number"),
        ("0b101", "a binary number"),
        ("0x1_F", "a hexadecimal number"),
        ("1_000", "a number"),
        ("1_0.5", "a number"),
        ("22:22", "a number in base 60"),
        ("12:30:45", "a number in base 60"),
        ("1:30.5", "a number in base 60"),
        ("2024-01-31", "a date"),
        ("2024-01-31T10:00:00Z", "a date"),
        ("2024-1-1 10:00:00.5 +1", "a date"),
        ("1234567890123456789", TOO_LONG),
        ("9" * 5000, TOO_LONG),
        ("1." + "9" * 5000, "a number"),
    ],
)
def test_what_readers_disagree_about_is_no_value(text: str, reading: str) -> None:
    assert resolve(text) == Unquoted(text, reading)
