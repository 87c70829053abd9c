"""What an answer means: taken, later (and when), or never."""

from collections.abc import Mapping

import pytest

from reconciler.notify.answers import LONGEST_WAIT_S, Later, Never, Taken, verdict

NOW = 1_700_000_000.0
DATE = {"date": "Tue, 14 Nov 2023 22:13:20 GMT"}
"""The same moment, by the server's clock."""


@pytest.mark.parametrize(
    ("status", "text"), [(201, "{}"), (204, ""), (400, '{"message":"Cannot transition status via :enqueue"}')]
)
def test_it_is_taken(status: int, text: str) -> None:
    assert isinstance(verdict(status, {}, text, NOW), Taken)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 410, 413, 422])
def test_sending_the_same_again_would_change_nothing(status: int) -> None:
    found = verdict(status, {"location": "https://elsewhere/secret"}, "no\n such thing", NOW)
    assert isinstance(found, Never)
    assert "secret" not in found.why


@pytest.mark.parametrize(
    ("status", "headers", "text", "wait_s"),
    [
        (500, {}, "", 0.0),
        (404, {}, "Not Found", 0.0),
        (429, {"retry-after": "Wed, 1 Jan 99999999999999999999 00:00:00 GMT"}, "", 0.0),
        (429, {}, "", 60.0),
        (429, {"retry-after": "7"}, "", 7.0),
        (503, {"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, "", 30.0),
        (503, DATE | {"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, "", 30.0),
        (429, {"retry-after": "1000000"}, "", LONGEST_WAIT_S),
        (429, {"retry-after": "soon"}, "", 0.0),
        (
            403,
            DATE | {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000090"},
            "API rate limit exceeded",
            90.0,
        ),
        (403, {}, "You have exceeded a secondary rate limit", 60.0),
        (429, {"ratelimit-remaining": "0", "ratelimit-reset": "1700000005"}, "", 5.0),
    ],
)
def test_it_is_sent_again_when_the_receiver_wants_it(
    status: int, headers: Mapping[str, str], text: str, wait_s: float
) -> None:
    # a clock here that is an hour off does not matter to a server that says what time it has
    now = NOW - 3600 if "date" in headers else NOW
    found = verdict(status, headers, text, now)
    assert isinstance(found, Later)
    assert found.wait_s == wait_s


def test_a_token_without_rights_is_tried_again_since_people_mend_that() -> None:
    assert isinstance(verdict(401, {}, "Bad credentials", NOW), Later)
    assert isinstance(verdict(403, {}, "Resource not accessible", NOW), Later)
