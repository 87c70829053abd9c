"""Secrets that a process is given: in a file or in the environment, never as an argument, which everybody can read."""

from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import UsageError


def read(what: str, path: Path | None, variable: str, environ: Mapping[str, str]) -> bytes | None:
    """The secret in a file, or in an environment variable; None: there is none. ``what`` is for messages.

    Raises:
        UsageError: it is empty, or the file can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8") if path is not None else environ.get(variable)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} in {path} cannot be read: {error}") from error
    if text is None:
        return None
    if not text.strip():
        raise UsageError(f"{what} is empty", hint=f"Put one into {path or variable}.")
    return text.strip().encode()
