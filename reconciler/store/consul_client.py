"""The one file that imports python-consul (1.1.0): its calls, over our own transport.

The library is sound where it only builds paths and parses answers, so we keep those parts and replace what hurts: it
has no timeouts, puts the token into the URL or forgets it, lets environment variables override explicit arguments,
turns a transaction's conflict into text, and leaves indexes as strings. Calls that it lacks are made here.
"""

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from reconciler.errors import StoreDenied, StoreError
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_transport import DENIED, Query, Transport
from reconciler.store.interface import Acquire, Check, DeleteIf, Entry, Held, Operation, Put, PutIf, Release


def _base_of_the_library() -> Any:
    """Its module ``consul.base`` by itself: the package around it begins with importing ``requests`` for a transport
    that is not ours, which costs each command 0.15 s of processor time, and each daemon 14 MiB.
    """
    package = importlib.util.find_spec("consul")
    if package is None or not package.submodule_search_locations:
        raise ImportError("python-consul is not installed")
    path = Path(package.submodule_search_locations[0]) / "base.py"
    spec = importlib.util.spec_from_file_location("consul.base", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


library: Any = _base_of_the_library()

UNKNOWN_THING = ("Unknown service", "Unknown check", "does not have associated TTL")
"""What a 500 says where newer versions answer 404."""


class _Http(library.HTTPClient):  # type: ignore[misc]  # the library has no types
    """What the library calls to send; errors never reach its own callbacks."""

    def __init__(self, transport: Transport) -> None:  # the library's own would want an address
        self._transport = transport

    def get(self, callback: Any, path: str, params: Any = None) -> Any:
        query = params or ()
        wait = dict(query).get("wait")
        answer = self._transport.read(path, query, wait_s=_parse_ms(wait) if wait else None)
        headers = {"X-Consul-Index": str(answer.index)}
        return callback(library.Response(answer.status, headers, answer.body))

    def put(self, callback: Any, path: str, params: Any = None, data: Any = "") -> Any:
        return self._write("PUT", callback, path, params, data)

    def post(self, callback: Any, path: str, params: Any = None, data: Any = "") -> Any:
        return self._write("POST", callback, path, params, data)

    def delete(self, callback: Any, path: str, params: Any = None) -> Any:
        return self._write("DELETE", callback, path, params, "")

    def _write(self, method: str, callback: Any, path: str, params: Any, data: Any) -> Any:
        body = data.encode() if isinstance(data, str) else data
        answer = self._transport.write(path, params or (), body, method=method)
        return callback(library.Response(answer.status, {"X-Consul-Index": str(answer.index)}, answer.body))


class Library(library.Consul):  # type: ignore[misc]  # the library has no types
    """python-consul without its constructor, which reads the environment."""

    def __init__(self, transport: Transport) -> None:
        self.http = _Http(transport)
        self.token = None  # the transport sends it, on every call
        self.dc = None
        self.consistency = "default"
        self.kv = library.Consul.KV(self)
        self.agent = library.Consul.Agent(self)
        self.health = library.Consul.Health(self)
        self.session = library.Consul.Session(self)


class _Listed(msgspec.Struct, frozen=True, gc=False):
    """An entry of a listing; base64 becomes bytes while it is decoded."""

    key: str = msgspec.field(name="Key")
    value: bytes | None = msgspec.field(name="Value")
    index: int = msgspec.field(name="ModifyIndex")
    holder: str | None = msgspec.field(name="Session", default=None)


class _TransactionError(msgspec.Struct, frozen=True):
    index: int = msgspec.field(name="OpIndex")
    what: str = msgspec.field(name="What")


class _Written(msgspec.Struct, frozen=True):
    key: str = msgspec.field(name="Key")
    index: int = msgspec.field(name="ModifyIndex")


class _Result(msgspec.Struct, frozen=True):
    written: _Written | None = msgspec.field(name="KV", default=None)


class _Read(msgspec.Struct, frozen=True):
    entry: _Listed = msgspec.field(name="KV")


class _ReadAnswer(msgspec.Struct, frozen=True):
    results: list[_Read] | None = msgspec.field(name="Results")
    errors: list[_TransactionError] | None = msgspec.field(name="Errors", default=None)


class _TransactionAnswer(msgspec.Struct, frozen=True):
    results: list[_Result] | None = msgspec.field(name="Results")
    errors: list[_TransactionError] | None = msgspec.field(name="Errors", default=None)


class ConsulClient:
    """Typed calls to one agent. Each raises a ``StoreError``; a write may raise ``AnswerLost``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.library = Library(transport)

    @property
    def address(self) -> str:
        """The agent's URL."""
        return str(self._transport.address)

    def close(self) -> None:
        """End all connections; blocked calls raise."""
        self._transport.close()

    def read_key(self, key: str) -> Entry | None:
        """A key, consistently; None if it is certainly not there."""
        _, raw = self.ask(self.library.kv.get, key, consistency="consistent")
        return None if raw is None else _entry(raw)

    def read_prefix(self, prefix: str) -> tuple[list[Entry], int]:
        """All keys under a prefix, consistently, and the index to wait after.

        Not by the library, which takes four times as long over a large listing.
        """
        answer = self._transport.read(f"/v1/kv/{prefix}", [("recurse", "1"), ("consistent", "1")])
        listed = _decoded(self.address, answer.body, list[_Listed] | None) if answer.status == 200 else None
        return [_listed(each) for each in listed or ()], answer.index

    def read_names(self, names: Sequence[str]) -> list[Entry]:
        """Keys, and all that is under those which end with a slash, consistently and of one moment.

        What is missing is left out, and what the token may not read as well.
        """
        left = list(names)
        while left:
            verbs = [{"Verb": "get-tree" if name.endswith("/") else "get", "Key": name} for name in left]
            answer = self._question(verbs)
            if not answer.errors:
                return [_listed(each.entry) for each in answer.results or ()]
            missing = {error.index for error in answer.errors}
            left = [name for number, name in enumerate(left) if number not in missing]
        return []

    def changed_keys(self, indexes: Mapping[str, int]) -> set[str]:
        """Those of the keys that have another index by now, or are gone; consistently, and without their values."""
        answer = self._question([{"Verb": "check-index", "Key": key, "Index": at} for key, at in indexes.items()])
        keys = list(indexes)
        return {keys[error.index] for error in answer.errors or ()}

    def read_keys(self, prefix: str) -> tuple[list[str], int]:
        """The names alone of all keys under a prefix, consistently, and the index of ``read_prefix``."""
        answer = self._transport.read(f"/v1/kv/{prefix}", [("keys", "1"), ("consistent", "1")])
        return (_decoded(self.address, answer.body, list[str]) if answer.status == 200 else []), answer.index

    def wait_key(self, key: str, after: int, wait_s: float) -> int:
        """The key's index, at once for ``after=0``, else when it changed or the time is over."""
        index, _ = self.ask(self.library.kv.get, key, index=after, wait=format_ms(wait_s))
        return int(index)

    def wait_prefix(self, prefix: str, after: int, wait_s: float) -> tuple[int, bool]:
        """The same for everything under a prefix, and whether that is nothing; asks for names only (a tenth of the work
        of values).
        """
        index, names = self.ask(
            self.library.kv.get, prefix, index=after, wait=format_ms(wait_s), keys=True, separator="/"
        )
        return int(index), not names

    def prefix_index(self, prefix: str) -> int:
        """The index of ``read_prefix`` now, consistently, without the entries."""
        # names end at the separator, so that hundreds of them become a few
        return self._transport.read(f"/v1/kv/{prefix}", [("keys", "1"), ("separator", "-"), ("consistent", "1")]).index

    def transact(self, operations: Sequence[Operation], root: str) -> dict[str, int] | str:
        """Carry out operations on keys under ``root`` at once. The new indexes; or why not: nothing was written.

        The library's own call has no token, and makes text of the conflict.
        """
        body = msgspec.json.encode([{"KV": _verb(operation, root)} for operation in operations])
        # a transaction of nothing but checks is a read to Consul, and may be stale unless told not to
        answer = self._transport.write("/v1/txn", [("consistent", "1")], body)
        if answer.status not in (200, 409):
            raise AnswerLost(f"{self.address} answered {answer.status} to a transaction")
        decoded = self._decode(answer.body, _TransactionAnswer)
        errors = decoded.errors or ()
        if answer.status == 200 and not errors:
            kept = (each.written for each in decoded.results or ())
            return {each.key.removeprefix(root): each.index for each in kept if each is not None}
        for error in errors:
            if any(words in error.what for words in DENIED):
                raise StoreDenied(
                    f"Consul denies writing {root}{operations[error.index].key}: {error.what}",
                    hint="The token needs the policy of its role: examples/deploy/consul-acl.",
                )
        return "; ".join(f"{operations[error.index].key}: {error.what}" for error in errors) or "refused"

    def _question(self, verbs: Sequence[Mapping[str, Any]]) -> _ReadAnswer:
        """A transaction of reads. Its errors say what is not so; a denial is raised."""
        body = msgspec.json.encode([{"KV": verb} for verb in verbs])
        answer = self._transport.read("/v1/txn", [("consistent", "1")], question=body)
        decoded: _ReadAnswer = _decoded(self.address, answer.body, _ReadAnswer)
        for error in decoded.errors or ():
            if any(words in error.what for words in DENIED):
                raise StoreDenied(
                    f"Consul denies reading {verbs[error.index]['Key']}: {error.what}",
                    hint="The token needs the policy of its role: examples/deploy/consul-acl.",
                )
        return decoded

    def create_session(self, name: str, checks: Sequence[str]) -> str:
        """A session on this agent's node that lives while ``checks`` pass; what it held is free at once afterwards."""
        created = self.ask(self.library.session.create, name, checks=list(checks), lock_delay=0, behavior="release")
        return str(created)

    def session_name(self, session_id: str) -> str | None:
        """The name of a session that lives, by a consistent read; None: it is gone."""
        _, raw = self.ask(self.library.session.info, session_id, consistency="consistent")
        return None if raw is None else str(raw["Name"])

    def destroy_session(self, session_id: str) -> None:
        """End a session."""
        self.ask(self.library.session.destroy, session_id)

    def call(self, method: str, path: str, query: Query = (), body: Any = None) -> Any:
        """A write that the library lacks; ``body`` is sent as JSON. None when Consul answers that there is no such."""
        raw = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = self._transport.write(path, query, raw, method=method)
        except AnswerLost as error:
            if any(words in error.message for words in UNKNOWN_THING):
                return None
            raise
        if answer.status == 404:
            return None
        return self._decode(answer.body, Any) if answer.body else True

    def ask(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the library; what it can't parse did not come from Consul."""
        try:
            return call(*args, **kwargs)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.address} does not answer as Consul does: {error}") from error

    def _decode(self, body: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise AnswerLost(f"{self.address} does not answer as Consul does: {error}") from error


def _decoded(address: str, body: bytes, kind: Any) -> Any:
    """What was read, as ``kind``."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{address} does not answer as Consul does: {error}") from error


def _listed(each: _Listed) -> Entry:
    return Entry(each.key, each.value or b"", each.index, each.holder or None)


def _entry(raw: Any) -> Entry:
    # Consul says null for the empty value
    return Entry(raw["Key"], raw["Value"] or b"", int(raw["ModifyIndex"]), raw.get("Session") or None)


def _verb(operation: Operation, root: str) -> dict[str, Any]:
    key = root + operation.key
    match operation:
        case Put(value=value):
            return {"Verb": "set", "Key": key, "Value": _base64(value)}
        case PutIf(value=value, index=index):
            return {"Verb": "cas", "Key": key, "Value": _base64(value), "Index": index}
        case DeleteIf(index=index):
            return {"Verb": "delete-cas", "Key": key, "Index": index}
        case Check(index=0):
            return {"Verb": "check-not-exists", "Key": key}
        case Check(index=index):
            return {"Verb": "check-index", "Key": key, "Index": index}
        case Acquire(value=value, session=session):
            return {"Verb": "lock", "Key": key, "Value": _base64(value), "Session": session}
        case Release(value=value, session=session):
            return {"Verb": "unlock", "Key": key, "Value": _base64(value), "Session": session}
        case Held(session=session):
            return {"Verb": "check-session", "Key": key, "Session": session}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def format_ms(wait_s: float) -> str:
    """A duration as Consul reads it."""
    return f"{max(1, round(wait_s * 1000))}ms"


def _parse_ms(wait: str) -> float:
    return float(wait.removesuffix("ms")) / 1000
