"""Random ids, in one place so that pure code stays without randomness."""

import uuid


def new_id() -> str:
    """A random id, unique in practice."""
    return str(uuid.uuid4())
