"""``consul://host:port/prefix``, the production store, over ``ConsulClient``; ``consul_session`` has the sessions."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reconciler.store.commits import AnswerLost, check_commit, check_key, check_prefix
from reconciler.store.consul_agent import LocalAgent
from reconciler.store.consul_client import ConsulClient
from reconciler.store.consul_session import open_session, resume_session
from reconciler.store.interface import (
    Check,
    CommitResult,
    Committed,
    Conflict,
    Entry,
    Held,
    Limits,
    Listing,
    Operation,
    Session,
    Unknown,
)
from reconciler.store.kept import KEPT_S

LARGE: Final = 32
"""A listing of so many entries is kept, to be read again only when it has changed."""
OPERATIONS: Final = Limits().operations
QUESTION_BYTES: Final = 512
"""To ask of an entry whether it changed costs a third of that; smaller ones are rather read again."""
MOST_QUESTIONS: Final = 4096
"""One request asks for 64; more of them would take longer than to read everything."""
FIRST_PAUSE_S: Final = 0.1
MOST_PAUSE_S: Final = 3.0
"""So a thousand idle hosts ask some hundred times a second while all the others are busy, and not a thousand times."""


class ConsulStore:
    """Everything under one root of a Consul KV; the whole ``Store`` contract."""

    def __init__(self, client: ConsulClient, root: str = "") -> None:
        """``root`` is empty or a path without slashes around it."""
        self._client = client
        self._root = f"{root}/" if root else ""
        self.agent = LocalAgent(client)
        self._kept: dict[str, tuple[Listing, float]] = {}
        self._seen_empty: dict[str, int] = {}
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def url(self) -> str:
        scheme, _, rest = self._client.address.partition("://")
        return f"consul{'+https' if scheme == 'https' else ''}://{rest}/{self._root}".rstrip("/")

    @property
    def limits(self) -> Limits:
        return Limits()

    def get(self, key: str) -> Entry | None:
        check_key(key)
        entry = self._client.read_key(self._root + key)
        return None if entry is None else self._without_root(entry)

    def list(self, prefix: str) -> Listing:
        check_prefix(prefix)
        began = time.monotonic()
        listing, read_at = self._kept.get(prefix, (None, 0.0))
        if listing and began < read_at + KEPT_S and self._client.prefix_index(self._root + prefix) == listing.index:
            return listing
        entries, index = self._client.read_prefix(self._root + prefix)
        listing = Listing(tuple(self._without_root(entry) for entry in entries), index)
        if len(entries) >= LARGE:
            self._kept[prefix] = (listing, began)
        else:
            self._kept.pop(prefix, None)
        return listing

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        for name in names:
            check_prefix(name) if name.endswith("/") else check_key(name)
        found: dict[str, Entry] = {}
        for chunk in _chunks(names):
            entries = map(self._without_root, self._client.read_names([self._root + name for name in chunk]))
            found |= {entry.key: entry for entry in entries}
        # what a token may not see is left out there without a word
        for name in names:
            if not name.endswith("/") and name not in found and (entry := self.get(name)):
                found[name] = entry
        return found

    def list_again(self, prefix: str, known: Listing) -> Listing:
        check_prefix(prefix)
        if self._client.prefix_index(self._root + prefix) == known.index:
            return known
        count, size = len(known.entries), sum(len(entry.value) for entry in known.entries)
        if count > MOST_QUESTIONS or size < QUESTION_BYTES * count:
            return self.list(prefix)
        names, index = self._client.read_keys(self._root + prefix)
        before = {entry.key: entry for entry in known.entries}
        now = [name.removeprefix(self._root) for name in names]
        changed = {key for key in now if key not in before}
        for chunk in _chunks([key for key in now if key in before]):
            asked = {self._root + key: before[key].index for key in chunk}
            changed |= {name.removeprefix(self._root) for name in self._client.changed_keys(asked)}
        fresh = self.get_all(sorted(changed))
        entries = [fresh.get(key) if key in changed else before[key] for key in now]
        return Listing(tuple(entry for entry in entries if entry is not None), index)

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        check_commit(operations, self.limits)
        if not operations:
            return Committed()
        # Consul carries operations out one after the other; ours judge the state before the commit
        ordered = sorted(operations, key=lambda each: not isinstance(each, Check | Held))
        try:
            outcome = self._client.transact(ordered, self._root)
        except AnswerLost as error:
            return Unknown(error.message)
        return Conflict(outcome) if isinstance(outcome, str) else Committed(outcome)

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        after = max(0, after)
        if prefix and not prefix.endswith("/"):
            check_key(prefix)
            index = self._client.wait_key(self._root + prefix, after, timeout_s)
        else:
            check_prefix(prefix)
            index = self._wait_prefix(prefix, after, timeout_s)
        return index if index >= after else 0

    def open_session(self, name: str, ttl_s: float) -> Session:
        return open_session(self._client, self.agent, name, ttl_s)

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:
        return resume_session(self._client, self.agent, session_id, name, ttl_s)

    def close(self) -> None:
        self._client.close()

    def _wait_prefix(self, prefix: str, after: int, timeout_s: float) -> int:
        """Consul ends a wait on an empty prefix for whatever happens beside it. So in a fleet where much happens every
        idle host would look all the time; here it is asked again, ever more rarely, while the prefix stays empty.
        """
        end, pause_s = time.monotonic() + timeout_s, FIRST_PAUSE_S
        while True:
            was_empty = self._seen_empty.get(prefix) == after
            index, is_empty = self._client.wait_prefix(self._root + prefix, after, timeout_s)
            if is_empty:
                self._seen_empty[prefix] = index
            else:
                self._seen_empty.pop(prefix, None)
            left_s = end - time.monotonic()
            if not (was_empty and is_empty and index > after and left_s > pause_s):
                return index
            time.sleep(pause_s * (0.5 + self._rng.random() / 2))
            after, timeout_s, pause_s = index, end - time.monotonic(), min(MOST_PAUSE_S, pause_s * 2)

    def _without_root(self, entry: Entry) -> Entry:
        return Entry(entry.key.removeprefix(self._root), entry.value, entry.index, entry.holder)


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as one transaction asks for."""
    for start in range(0, len(names), OPERATIONS):
        yield names[start : start + OPERATIONS]
