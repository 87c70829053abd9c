"""The forms of fields that people write, and what all objects made of them have in common. Decoding checks them."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.durations import DURATION_PATTERN, POSITIVE_DURATION_PATTERN
from reconciler.model.names import NAME_PATTERN

# Patterns end so that "$" accepts no trailing newline.
Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Version: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # the largest integer that JSON programs agree on
Count: TypeAlias = Annotated[int, Meta(ge=0, le=100_000)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]  # 0: none
PortName: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$(?!\n)")]
RangePort: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
MemoryMib: TypeAlias = Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)]
DiskMib: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
CpuUnits: TypeAlias = Annotated[int, Meta(ge=0, le=1024 * 1024)]
Duration: TypeAlias = Annotated[str, Meta(pattern=POSITIVE_DURATION_PATTERN, max_length=32)]
DurationOrZero: TypeAlias = Annotated[str, Meta(pattern=DURATION_PATTERN, max_length=32)]
EnvEntry: TypeAlias = Annotated[str, Meta(pattern=r"^[^=\s]+=")]
Image: TypeAlias = Annotated[str, Meta(pattern=r"^[^\s$-][^\s$]*$(?!\n)")]
PortMapping: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^((\[[0-9A-Fa-f:.]+\]|[0-9]{1,3}(\.[0-9]{1,3}){3}):)?([0-9]{1,5}(-[0-9]{1,5})?:|:)?"
        r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?$(?!\n)"
    ),
]
Volume: TypeAlias = Annotated[str, Meta(pattern=r"^[^:\n]+(:[^:\n]+){0,2}$(?!\n)")]
Url: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+([/?#]\S*)?$(?!\n)")]
ArtifactUrl: TypeAlias = Annotated[str, Meta(pattern=r"^((https?|file)://\S+)?$(?!\n)")]
Sha256: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9A-Fa-f]{64})?$(?!\n)")]
UserName: TypeAlias = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.@-]{0,63})?$(?!\n)")]
TcpAddress: TypeAlias = Annotated[str, Meta(pattern=r"^(?=.)(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(:[0-9]{1,5})?$(?!\n)")]
Method: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]+$(?!\n)")]
Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=1000)]
CheckThreshold: TypeAlias = Annotated[int, Meta(ge=0, le=1000)]

HostTag: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/:-]{1,64}$(?!\n)")]
ConstraintKey: TypeAlias = Annotated[str, Meta(pattern=r"^(name|(tag|attribute)\.[A-Za-z0-9._/:-]{1,64})$(?!\n)")]
ConstraintValue: TypeAlias = Annotated[str, Meta(max_length=256)]
Percent: TypeAlias = Annotated[int, Meta(ge=100, le=1000)]


class Object(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Immutable and strict."""
