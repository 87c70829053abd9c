"""What ``validate`` checks beside the rules of manifests: operators' policies, and the flags that docker takes."""

from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.manifests.checks import Checks
from reconciler.manifests.policy import Policy, read_policies


def checks(policy_folders: Sequence[str]) -> Checks:
    """All of them.

    Raises:
        UsageError: a policy can't be read or is none.
    """
    return Checks(docker_flags=_wrong_flags, policies=_policies(policy_folders))


def _wrong_flags(flags: Sequence[str]) -> list[str]:
    from reconciler.executors.docker_flags import unsupported

    return unsupported(flags)


def _policies(folders: Sequence[str]) -> tuple[Policy, ...]:
    files: list[tuple[str, bytes]] = []
    for folder in folders:
        try:
            found = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json")
            files += [(str(path), path.read_bytes()) for path in found]
        except OSError as error:
            raise UsageError(
                f"policies can't be read from {folder}: {error.strerror or error}",
                hint="--policy takes a folder with JSON Schema files",
            ) from error
        if not found:
            raise UsageError(f"there is no policy in {folder}", hint="a policy is a file called NAME.json")
    return read_policies(files)
