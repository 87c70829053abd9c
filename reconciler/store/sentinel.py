"""The sentinels: two keys that prove that what we see of the store is there, and is ours.

``config/.store`` and ``state/.store`` hold one random ``store_id``. A token without rights is shown an empty or
filtered listing, and a wiped or foreign Consul really is empty: in each case a sentinel is missing or another one, and
whoever looks holds what runs as it is. Wiring calls ``ensure`` when a process starts, the loops ``read`` in each pass,
``reconciler store init`` ``initialise``.
"""

from collections.abc import Mapping

import msgspec

from reconciler.errors import StoreNotOurs, StoreUnreachable
from reconciler.model import codec, keys
from reconciler.store.interface import Committed, Entry, Put, PutIf, Store

ATTEMPTS = 5
SENTINELS = (keys.CONFIG_SENTINEL, keys.STATE_SENTINEL)


class Sentinel(msgspec.Struct, frozen=True, kw_only=True):
    """The value of both keys."""

    store_id: str


def read(store: Store) -> str:
    """The store's id.

    Raises:
        StoreNotOurs: a sentinel is missing, or the two differ.
        StoreError: nobody can say.
    """
    return read_from(store, store.get_all(SENTINELS))


def read_from(store: Store, found: Mapping[str, Entry]) -> str:
    """The same from what ``get_all`` found at ``SENTINELS`` and other names."""
    config, state = found.get(keys.CONFIG_SENTINEL), found.get(keys.STATE_SENTINEL)
    if config is None and state is not None:
        config = store.get(keys.CONFIG_SENTINEL)  # both may have been created between the two reads
    if config is None and state is None:
        raise StoreNotOurs(
            f"{store.url} holds no store of this program (neither {keys.CONFIG_SENTINEL} nor {keys.STATE_SENTINEL})",
            hint="A new store is made by the first `reconciler sync`, `scheduler`, `agent` or `apply`. If this one was "
            f"in use, it was wiped, or the URL is another one now; {_on_purpose(store)}.",
        )
    if config is None or state is None:
        lost = keys.CONFIG_SENTINEL if config is None else keys.STATE_SENTINEL
        raise StoreNotOurs(
            f"{store.url}: {lost} is gone, so what is missing beside it may be gone as well",
            hint=f"If you know why, and what is there now is what should run, {_on_purpose(store)}.",
        )
    config_id, state_id = store_id(config), store_id(state)
    if config_id != state_id:
        raise StoreNotOurs(
            f"{store.url}: config/ belongs to store {config_id}, state/ to store {state_id}",
            hint=f"One of them was copied or restored from elsewhere. To keep what is there now, {_on_purpose(store)}.",
        )
    return config_id


def store_id(sentinel: Entry) -> str:
    """What a sentinel's entry says. Raises StoreNotOurs when it is not one."""
    try:
        return codec.decode(sentinel.value, Sentinel, sentinel.key).store_id
    except codec.Undecodable as error:
        raise StoreNotOurs(error.message, hint="Something else writes there: give this program a prefix.") from error


def ensure(store: Store, new_id: str) -> str:
    """The store's id; an empty store becomes ours first, with ``new_id``. Any number of processes may try at once.

    Raises:
        StoreNotOurs: a sentinel is missing, and the store is not empty.
    """
    value = codec.encode(Sentinel(store_id=new_id))
    create = [PutIf(key, value, 0) for key in SENTINELS]
    for _ in range(ATTEMPTS):
        if store.get(keys.CONFIG_SENTINEL) or store.get(keys.STATE_SENTINEL):
            return read(store)
        if others := _others(store):
            # somebody else may have begun between the two reads, and has written more than the sentinels already
            if store.get(keys.CONFIG_SENTINEL) is None:
                raise _not_empty(store, others)
            continue
        if isinstance(store.commit(create), Committed):
            return new_id
    raise StoreUnreachable(f"{store.url}: its sentinels could not be written, and nobody else wrote them")


def initialise(store: Store, new_id: str) -> str:
    """Make what is there ours, on purpose. An id that is there stays, since what runs is labelled with it."""
    known = [entry for key in (keys.STATE_SENTINEL, keys.CONFIG_SENTINEL) if (entry := store.get(key))]
    chosen = next((found for entry in known if (found := _id_or_none(entry))), new_id)
    value = codec.encode(Sentinel(store_id=chosen))
    for _ in range(ATTEMPTS):
        if isinstance(store.commit([Put(keys.CONFIG_SENTINEL, value), Put(keys.STATE_SENTINEL, value)]), Committed):
            return chosen
    raise StoreUnreachable(f"{store.url}: its sentinels could not be written")


def _others(store: Store) -> list[str]:
    """The keys beside the sentinels."""
    return [entry.key for prefix in keys.OURS for entry in store.list(prefix).entries if entry.key not in SENTINELS]


def _not_empty(store: Store, others: list[str]) -> StoreNotOurs:
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return StoreNotOurs(
        f"{store.url} is not empty ({shown}), and nothing says that it is this program's",
        hint=f"Give this program a place of its own ({_elsewhere(store)}), or, if these keys are its own (a store that "
        f"was restored, say), {_on_purpose(store)}.",
    )


def _id_or_none(sentinel: Entry) -> str | None:
    try:
        return store_id(sentinel)
    except StoreNotOurs:
        return None


def _elsewhere(store: Store) -> str:
    return f"--store {store.url}/reconciler" if store.url.startswith("consul") else "another file"


def _on_purpose(store: Store) -> str:
    return f"run: reconciler store init --store {store.url}"
