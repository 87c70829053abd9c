"""Who runs this process, for people to read. Asked by the command line and by sync."""

import getpass
import os


def whoami() -> str:
    """``ann@laptop``; a user without a name (in a container) is shown by number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.geteuid())
    return f"{user}@{os.uname().nodename}"
