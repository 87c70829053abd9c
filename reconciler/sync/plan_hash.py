"""A name for exactly this plan: who confirms it confirms these changes of these values, and no others. Pure.

``preview`` shows it, a saved plan carries it, and the brake on deletions asks for it.
"""

import hashlib
from collections.abc import Iterable

from reconciler.sync.config_view import View
from reconciler.sync.plan import Change, Delete


def digest_of(value: bytes | None) -> str:
    """What a stored value comes to; empty if there is none."""
    return "" if value is None else hashlib.sha256(value).hexdigest()


def plan_hash(view: View, revision: str, changes: Iterable[Change]) -> str:
    """The hash of the source, the revision, and each key with its value before and after."""
    content = hashlib.sha256(f"{view.store_id} {view.source} {revision}\n".encode())
    for change in sorted(changes, key=lambda each: each.key):
        stored = view.config.get(change.key)
        after = None if isinstance(change, Delete) else change.value
        before = digest_of(stored.value if stored else None)
        content.update(f"{change.key} {before} {digest_of(after)}\n".encode())
    return content.hexdigest()[:16]
