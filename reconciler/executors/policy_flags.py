"""Which flags of a container lead out of it, and which of those a host's policy lists. Pure but for ``real``.

``host_policy`` asks. Flags are judged by what is known to be harmless, not by a list of what is dangerous: another way
of writing it gains nothing.
"""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from reconciler.executors import docker_values
from reconciler.executors.policy_patterns import RealPath
from reconciler.model import flag_words

_USUAL_CAPABILITIES: Final = frozenset(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
"""Those that docker gives to every container."""

_HARMLESS: Final[dict[str, Callable[[str], bool]]] = {
    "--cap-add": lambda text: docker_values.capability(text) in _USUAL_CAPABILITIES,
    "--cgroup-parent": lambda text: not text,
    "--cgroupns": lambda text: text in ("", "private"),
    "--device": lambda _: False,
    "--device-cgroup-rule": lambda _: False,
    "--gpus": lambda _: False,
    "--ipc": lambda text: text in ("", "none", "private", "shareable"),
    "--log-opt": lambda text: _log_option_is_harmless(*docker_values.pair(text)),
    "--network": lambda text: not text.startswith("container:"),
    "--oom-kill-disable": lambda text: not docker_values.boolean(text),
    "--oom-score-adj": lambda text: docker_values.integer(text) >= 0,
    "--pid": lambda text: not text,
    "--runtime": lambda text: text in ("", "runc"),
    "--security-opt": lambda text: (
        text in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true")
        or text in ("seccomp=builtin", "apparmor=docker-default")
    ),
    "--userns": lambda text: not text,
    "--uts": lambda text: not text,
    "--volume-driver": lambda text: text in ("", "local"),
    "--volumes-from": lambda _: False,
}
"""Flags that lead out of a container, and the values with which they don't. All others concern the container alone."""
_CAPABILITIES: Final = ("--cap-add", "--cap-drop")
_LOG_TEXTS: Final = ("awslogs-group", "awslogs-stream", "env", "env-regex", "labels", "labels-regex", "tag")
"""Options of log drivers whose values are no places, whatever is in them."""
_LOG_SERVERS: Final = ("tcp://", "udp://", "tcp+tls://", "http://", "https://")
ELSEWHERE: Final = {
    "--mount": "mounts",
    "--privileged": "privileged",
    "--user": "users",
    "--volume": "mounts",
}
"""Flags that a field of their own allows."""


def is_harmless(name: str, value: str) -> bool:
    """Whether it concerns the container alone. Raises ValueError for what is no value of that flag."""
    return name not in _HARMLESS or _HARMLESS[name](value)


def climbs(name: str, value: str) -> bool:
    """Whether a path in a flag that may lead out has a ``..``, which no pattern can follow."""
    return name in _HARMLESS and ".." in re.split("[/:=,]", value)


def is_listed(patterns: Sequence[str], name: str, value: str, real: RealPath) -> bool:
    """Whether one of ``patterns`` stands for a flag with this value; a pattern without a value stands for all.

    Raises ValueError for what is no value of that flag.
    """
    plain = _plain(name, value, real)
    for pattern in patterns:
        _, equals, wanted = pattern.partition("=")
        forms = [_plain(name, wanted, real)]
        if name == "--device":  # a link that is listed itself is the operator's word for where it leads
            forms.append(wanted)
        if long_name(pattern) == name and (not equals or any(fnmatchcase(plain, form) for form in forms)):
            return True
    return False


def long_name(pattern: str) -> str:
    """The flag that a pattern is about."""
    name = pattern.partition("=")[0]
    return flag_words.ALIASES.get(name, name)


def _plain(name: str, value: str, real: RealPath) -> str:
    """A value, or a pattern of it, in the one way of writing it, where there are several."""
    if name in _CAPABILITIES:
        return docker_values.capability(value)
    if name == "--device" and value.startswith("/"):
        source, colon, rest = value.partition(":")
        return f"{real(source)}{colon}{rest}"
    return _switched(value) if name in flag_words.SWITCHES else value


def _log_option_is_harmless(name: str, value: str) -> bool:
    """The engine follows paths in them as root: a socket that it writes to, a file that it reads."""
    return name in _LOG_TEXTS or "/" not in value or value.startswith(_LOG_SERVERS)


def _switched(value: str) -> str:
    """A switch's value; a pattern stays one."""
    try:
        return str(docker_values.boolean(value)).lower()
    except ValueError:
        return value
