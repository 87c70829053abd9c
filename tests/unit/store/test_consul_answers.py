"""What each answer of Consul means. The texts are Consul's own, seen on real ones."""

import pytest

from reconciler.errors import StoreDenied, StoreError, StoreNoLeader, StoreTooLarge, StoreUnreachable
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_transport import Address, Transport, _check_status, _index


@pytest.mark.parametrize(
    ("status", "text", "meaning"),
    [
        (500, "No cluster leader", StoreNoLeader),
        (500, "rpc error making call: No cluster leader", StoreNoLeader),
        (500, "No known Consul servers", StoreNoLeader),
        (500, "rpc error making call: EOF", AnswerLost),
        (500, "rpc error getting client: failed to get conn: dial tcp: connection refused", AnswerLost),
        (500, "leadership lost while committing log", AnswerLost),
        (500, "no space left on device", AnswerLost),
        (502, "<html>Bad gateway</html>", AnswerLost),
        (403, "Permission denied", StoreDenied),
        (403, "ACL not found", StoreDenied),
        (500, "rpc error making call: ACL not found", StoreDenied),
        (500, "rpc error making call: rpc error making call: Permission denied", StoreDenied),
        (401, "ACL support disabled", StoreDenied),
        (413, "Request body too large, max size: 524288 bytes", StoreTooLarge),
        (429, "Your IP is issuing too many concurrent connections", StoreUnreachable),
        (400, "Invalid index", StoreError),
        (301, "", StoreError),
    ],
)
def test_an_answer_that_is_an_error_says_what_may_be_concluded(
    status: int, text: str, meaning: type[StoreError]
) -> None:
    with pytest.raises(StoreError) as caught:
        _check_status(status, text.encode(), "/v1/txn")
    assert type(caught.value) is meaning
    assert text in str(caught.value)


@pytest.mark.parametrize("status", [200, 404, 409])
def test_an_answer_that_is_none_is_for_the_caller_to_read(status: int) -> None:
    _check_status(status, b"", "/v1/txn")


@pytest.mark.parametrize(("header", "index"), [(b"17", 17), (b"0", 1), (None, 1), (b"", 1), (b"-3", 1), (b"x", 1)])
def test_an_index_is_a_number_to_wait_after_whatever_the_header_says(header: bytes | None, index: int) -> None:
    assert _index(header) == index


def test_a_key_that_consul_would_redirect_is_never_sent() -> None:
    transport = Transport(Address(host="192.0.2.1"), None)
    with pytest.raises(ValueError, match="another key"):
        transport.write("/v1/kv/a//b")
    transport.close()
