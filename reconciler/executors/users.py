"""As whom a bash task runs: users of this host, looked up by the name or number that a definition gives.

``bash`` asks, ``shim`` and ``commands`` start processes as them. Only root can start something as somebody else.
"""

import os
import pwd

import msgspec

from reconciler.errors import ExecutorError


class User(msgspec.Struct, frozen=True):
    """A user with all groups that it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def variables(self) -> dict[str, str]:
        """What a login would set."""
        return {"USER": self.name, "LOGNAME": self.name, "HOME": self.home}


def user_of(name: str) -> User | None:
    """Whom processes have to be started as; None: as the agent itself runs.

    Raises:
        ExecutorError: there is no such user here, or this agent may not start something as another one. Permanent.
    """
    if not name:
        return None
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise ExecutorError(
            f"there is no user {name} on this host", hint="create it, or name another one", permanent=True
        ) from None
    own = os.geteuid()
    if entry.pw_uid == own:
        return None
    if own != 0:
        raise ExecutorError(
            f"cannot run as user {name}: this agent does not run as root, so all that it starts runs as its own user",
            hint="run the agent as root, or name no user",
            permanent=True,
        )
    return _user(entry)


def user_with_id(uid: int) -> User | None:
    """The user of a number, who need not be known here any more; None: the agent's own."""
    if uid == os.geteuid():
        return None
    try:
        return _user(pwd.getpwuid(uid))
    except KeyError:
        return User(str(uid), uid, uid, (uid,), "/")


def _user(entry: pwd.struct_passwd) -> User:
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(sorted(groups)), entry.pw_dir)
