"""Values of ``docker run`` flags as the engine's API writes them. Pure; every function raises ValueError."""

import csv
import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from reconciler.model.durations import parse_duration
from reconciler.model.publishing import ports, split_protocol

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)\s*(?:([kmgtp])(?:i?b)?|b)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_MOUNT_TYPES: Final = ("bind", "volume", "tmpfs", "npipe", "cluster", "image")


def boolean(text: str) -> bool:
    """A switch's value, as Go reads it."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def size(text: str) -> int:
    """Bytes: ``512``, ``64m``, ``1.5g``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512m or 2g")
    return int(float(match[1]) * 1024.0 ** _POWERS[(match[2] or "").lower()])


def size_or_unlimited(text: str) -> int:
    """Bytes, or -1 for no limit."""
    return -1 if text == "-1" else size(text)


def nano_cpus(text: str) -> int:
    """Cores, with decimals: ``1.5``."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is not a number of CPUs such as 1.5")
    return round(float(text) * 1e9)


def nanoseconds(text: str) -> int:
    """A Go duration."""
    return round(parse_duration(text) * 1e9)


def pair(text: str) -> tuple[str, str]:
    """``name=value``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not of the form name=value")
    return name, value


def capability(text: str) -> str:
    """As the engine calls it: ``net_admin`` is ``CAP_NET_ADMIN``."""
    name = text.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def host_entry(text: str) -> str:
    """``host:ip``; also written ``host=ip``."""
    name, separator, address = re.sub(r"=", ":", text, count=1).partition(":")
    if not separator or not name:
        raise ValueError(f"{text!r} is not of the form host:ip")
    plain = address.strip("[]")
    if plain != "host-gateway":
        ipaddress.ip_address(plain)
    return f"{name}:{plain}"


def device(text: str) -> dict[str, str]:
    """``/dev/on-host[:/dev/inside][:rwm]``."""
    parts = text.split(":")
    if not parts[0].startswith("/") or len(parts) > 3:
        raise ValueError(f"{text!r} is not of the form /dev/on-host[:/dev/inside][:rwm]")
    inside, rights = parts[0], "rwm"
    if len(parts) == 3:
        inside, rights = parts[1], parts[2]
    elif len(parts) == 2:
        inside, rights = (parts[1], rights) if parts[1].startswith("/") else (inside, parts[1])
    if not set(rights) <= set("rwm") or not rights:
        raise ValueError(f"{rights!r} are not rights to a device (r, w, m)")
    return {"PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": rights}


def device_rate(amount: Callable[[str], int], key: str = "Rate") -> Callable[[str], dict[str, Any]]:
    """Reads ``/dev/name:amount``."""

    def read(text: str) -> dict[str, Any]:
        path, separator, value = text.partition(":")
        if not separator or not path.startswith("/dev/"):
            raise ValueError(f"{text!r} is not of the form /dev/name:number")
        return {"Path": path, key: amount(value)}

    return read


def ulimit(text: str) -> dict[str, Any]:
    """``name=soft[:hard]``."""
    name, value = pair(text)
    soft, _, hard = value.partition(":")
    return {"Name": name, "Soft": integer(soft), "Hard": integer(hard or soft)}


def tmpfs(text: str) -> tuple[str, str]:
    """``/path[:options]``."""
    path, _, options = text.partition(":")
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute path")
    return path, options


def volume(text: str) -> str:
    """``[source:]/inside[:options]``; relative paths on the host have no meaning here."""
    parts = text.split(":")
    inside = parts[0] if len(parts) == 1 else parts[1]
    if not inside.startswith("/") or len(parts) > 3:
        raise ValueError(f"{text!r} is not of the form source:/inside[:options]")
    if parts[0].startswith((".", "~")):
        raise ValueError(f"{parts[0]!r} must be an absolute path or the name of a volume")
    return text


def exposed(text: str) -> list[str]:
    """``80``, ``80/udp``, ``8000-8010``."""
    range_, protocol = split_protocol(text)
    return [f"{port}/{protocol}" for port in ports(range_)]


def gpus(text: str) -> dict[str, Any]:
    """``all``, a number, or ``count=…,device=…,driver=…,capabilities=…``."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    for field in _fields(text):
        name, equals, value = field.partition("=")
        if not equals:
            name, value = "count", field
        match name:
            case "count":
                request["Count"] = -1 if value == "all" else integer(value)
            case "device":
                request["DeviceIDs"] = value.split(",")
            case "driver":
                request["Driver"] = value
            case "capabilities":
                request["Capabilities"] = [[*value.split(","), "gpu"]]
            case _:
                raise ValueError(f"{name!r} is not known of GPUs (count, device, driver, capabilities)")
    if request["DeviceIDs"] is None and request["Count"] == 0:
        request["Count"] = -1
    return request


def mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/a,target=/b,readonly`` and its like."""
    result: dict[str, Any] = {"Type": "volume"}
    for field in _fields(text):
        name, equals, value = field.partition("=")
        _mount_field(result, name.lower(), value if equals else "true")
    if "Target" not in result:
        raise ValueError("a mount needs a target")
    if result["Type"] not in _MOUNT_TYPES:
        raise ValueError(f"{result['Type']!r} is not a type of mount ({', '.join(_MOUNT_TYPES)})")
    if result["Type"] == "bind" and not str(result.get("Source", "")).startswith("/"):
        raise ValueError("a bind mount needs an absolute source")
    return result


_Reader: TypeAlias = Callable[[str], Any]
_DRIVER: Final = ("VolumeOptions", "DriverConfig")
_MOUNT_FIELDS: Final[dict[str, tuple[tuple[str, ...], _Reader]]] = {
    "type": (("Type",), str.lower),
    "source": (("Source",), str),
    "target": (("Target",), str),
    "readonly": (("ReadOnly",), boolean),
    "consistency": (("Consistency",), str.lower),
    "bind-propagation": (("BindOptions", "Propagation"), str.lower),
    "bind-nonrecursive": (("BindOptions", "NonRecursive"), boolean),
    "volume-nocopy": (("VolumeOptions", "NoCopy"), boolean),
    "volume-label": (("VolumeOptions", "Labels", "*"), lambda text: text.partition("=")),
    "volume-driver": ((*_DRIVER, "Name"), str),
    "volume-opt": ((*_DRIVER, "Options", "*"), lambda text: text.partition("=")),
    "tmpfs-size": (("TmpfsOptions", "SizeBytes"), size),
    "tmpfs-mode": (("TmpfsOptions", "Mode"), lambda text: int(text, 8)),
}
_MOUNT_ALIASES: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def _mount_field(result: dict[str, Any], name: str, value: str) -> None:
    name = _MOUNT_ALIASES.get(name, name)
    if name not in _MOUNT_FIELDS:
        raise ValueError(f"{name!r} is not known of mounts ({', '.join(_MOUNT_FIELDS)})")
    path, read = _MOUNT_FIELDS[name]
    content = read(value)
    for key in path[:-1]:
        result = result.setdefault(key, {})
    if path[-1] == "*":  # each use adds an entry of its own name
        result[content[0]] = content[2]
    else:
        result[path[-1]] = content


def _fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"{text!r} is no list with commas: {error}") from None
