"""All stores answer the same to the same commits: hundreds of random ones, compared with the memory store's answers."""

import random
from pathlib import Path

import pytest

from reconciler.store.interface import (
    Acquire,
    Check,
    DeleteIf,
    Held,
    Listing,
    Operation,
    Put,
    PutIf,
    Release,
    Session,
    Store,
)
from reconciler.store.memory import MemoryStore
from tests.store_contract.conftest import Backend

LOCKS = [f"sync/{name}" for name in "abc"]
KEYS = [*LOCKS, *(f"state/{name}" for name in "abcdef")]
VALUES = [b"", b"1", b"2", b"\xff\x00"]
WEIRD_INDEX = 10**9


class Side:
    """One store, with its own indexes and session ids."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sessions: list[Session] = [store.open_session(f"session {number}", 600) for number in range(2)]
        self.seen: list[dict[str, int]] = [{}]

    def remember(self) -> Listing:
        listing = self.store.list("")
        self.seen.append({entry.key: entry.index for entry in listing.entries})
        return listing

    def operation(self, dice: random.Random, kind: str, key: str) -> Operation:
        """One operation, the same on each side for the same dice: with indexes of the last states, or a wrong one."""
        # Consul counts a plain write of the same value to a key that was ever held as a change, once
        value = dice.choice(VALUES)
        if kind in ("put", "put_if") and key in LOCKS:
            value = str(dice.random()).encode()
        session = self.sessions[dice.randrange(len(self.sessions))].id
        age = min(dice.choice([1, 1, 1, 2, 5]), len(self.seen))
        index = self.seen[-age].get(key, dice.choice([0, WEIRD_INDEX]))
        match kind:
            case "put":
                return Put(key, value)
            case "put_if":
                return PutIf(key, value, index)
            case "delete_if":
                return DeleteIf(key, index or WEIRD_INDEX)
            case "check":
                return Check(key, index)
            case "acquire":
                return Acquire(key, value, session)
            case "release":
                return Release(key, value, session)
            case _:
                return Held(key, session)

    def commit(self, seed: int) -> str:
        dice = random.Random(seed)
        operations: list[Operation] = []
        for key in dice.sample(KEYS, dice.randint(1, 3)):
            kinds = ["put", "put_if", "put_if", "delete_if", "check"]
            kind = dice.choice([*kinds, "acquire", "acquire", "release", "held"] if key in LOCKS else kinds)
            operations.append(self.operation(dice, kind, key))
            if kind not in ("check", "held") and dice.random() < 0.3:
                operations.append(self.operation(dice, dice.choice(["check", "held"]), key))
        if dice.random() < 0.03:
            number = dice.randrange(len(self.sessions))
            self.sessions[number].close()
            self.sessions[number] = self.store.open_session(f"session {number}", 600)
        return type(self.store.commit(operations)).__name__

    def state(self, listing: Listing) -> list[tuple[str, bytes, int | None]]:
        """What is there, without what differs by nature."""
        numbers = {session.id: number for number, session in enumerate(self.sessions)}
        return [(entry.key, entry.value, numbers[entry.holder] if entry.holder else None) for entry in listing.entries]


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("consul", marks=pytest.mark.consul)], indirect=True)
@pytest.mark.parametrize("seed", range(3))
def test_rule_15_every_store_answers_as_the_memory_store_does(backend: Backend, seed: int, tmp_path: Path) -> None:
    sides = [Side(MemoryStore()), Side(backend.connect())]
    outcomes: list[str] = []
    for step in range(300):
        answers = [side.commit(seed * 1000 + step) for side in sides]
        before = [side.seen[-1] for side in sides]
        listings = [side.remember() for side in sides]
        states = [side.state(listing) for side, listing in zip(sides, listings, strict=True)]
        changed = [
            {key for key in {**old, **side.seen[-1]} if old.get(key) != side.seen[-1].get(key)}
            for old, side in zip(before, sides, strict=True)
        ]
        assert answers[0] == answers[1], f"seed {seed}, step {step}: {answers}, before: {states}"
        assert states[0] == states[1], f"seed {seed}, step {step}"
        assert changed[0] == changed[1], f"seed {seed}, step {step}: the indexes of other keys moved"
        outcomes.append(answers[0])
    assert outcomes.count("Committed") > 50
    assert outcomes.count("Conflict") > 50
    for side in sides:
        for session in side.sessions:
            session.close()
