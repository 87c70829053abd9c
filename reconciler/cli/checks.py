"""What ``validate`` checks beside the rules of manifests: policies, own and hosts', and the flags that docker takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.manifests.checks import Checks, Policy

if TYPE_CHECKING:
    from reconciler.manifests.host_policy_rules import HostCheck


def checks(policies: Sequence[str]) -> Checks:
    """All of them; ``policies`` are folders with own rules, and files that are hosts' execution policies.

    Raises:
        UsageError: a policy can't be read or is none.
    """
    files = [path for path in policies if Path(path).is_file()]
    return Checks(
        docker_flags=_wrong_flags,
        policies=_policies([path for path in policies if path not in files]),
        host_policies=tuple(map(_host_policy, files)),
    )


def _wrong_flags(flags: Sequence[str]) -> list[str]:
    from reconciler.executors.docker_flags import unsupported

    return unsupported(flags)


def _host_policy(file: str) -> "HostCheck":
    from reconciler.executors.host_policy import faults, violations
    from reconciler.manifests.host_policy_file import read_host_policy
    from reconciler.manifests.host_policy_rules import HostCheck

    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"the policy {file} can't be read: {error.strerror}", hint="check its rights") from error
    return HostCheck(file, read_host_policy(file, content, faults), violations)


def _policies(folders: Sequence[str]) -> tuple[Policy, ...]:
    if not folders:
        return ()
    from reconciler.manifests.policy import read_policies

    files: list[tuple[str, bytes]] = []
    for folder in folders:
        try:
            found = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json")
            files += [(str(path), path.read_bytes()) for path in found]
        except OSError as error:
            raise UsageError(
                f"policies can't be read from {folder}: {error.strerror or error}",
                hint="--policy takes a folder with JSON Schema files, or the execution policy of a host",
            ) from error
        if not found:
            raise UsageError(f"there is no policy in {folder}", hint="a policy is a file called NAME.json")
    return read_policies(files)
