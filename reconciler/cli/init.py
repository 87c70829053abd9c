"""``reconciler init``: a repository of manifests to start from, with CI that passes."""

from pathlib import Path
from typing import Final

import click

from reconciler import __version__
from reconciler.errors import UsageError

_STARTER: Final = Path(__file__).with_name("starter")
FILES: Final = {
    "README.md": "README.md.txt",
    "reconciler.yaml": "settings.yaml",
    "manifests/cluster.yml": "cluster.yml",
    "manifests/hello.yml": "hello.yml",
    "policies/memory-is-set.json": "memory-is-set.json",
    ".github/workflows/validate.yml": "github.yml",
    ".gitlab-ci.yml": "gitlab.yml",
    ".pre-commit-config.yaml": "pre-commit.yaml",
    ".gitignore": "gitignore",
}
"""What is written, and the file beside this one that it is made from."""
ENVIRONMENT_FILES: Final = {
    "manifests/reconciler.yaml": "environments.yaml",
    "manifests/overlays/staging/hello.yml": "staging.yml",
    "manifests/overlays/prod/hello.yml": "prod.yml",
}
"""Likewise, with ``--environments``."""


@click.command(
    epilog="""
\b
Examples:
  reconciler init
  reconciler init fleet --environments
  reconciler init fleet --requirement "reconciler @ git+https://git.example.com/platform/reconciler@v0.1.0"
"""
)
@click.argument("folder", default=".", metavar="[DIR]")
@click.option(
    "--requirement",
    default=f"reconciler=={__version__}",
    show_default=True,
    metavar="REQUIREMENT",
    help="What CI and hooks give to pip: a version, or where your copy of the program is.",
)
@click.option("--environments", is_flag=True, help="With two environments of the same manifests: staging and prod.")
def init(folder: str, requirement: str, environments: bool) -> None:
    """Write a starter repository: manifests, a policy, checks for GitHub, GitLab and pre-commit, and a README.

    DIR is made if it is not there. Nothing is overwritten: if one of the files exists, nothing is written at all.
    """
    if any(character in requirement for character in '"\\\n') or not requirement.strip():
        raise UsageError(f"{requirement!r} can't be a requirement", hint="write it as for pip, without quotes")
    root = Path(folder)
    files = FILES | (ENVIRONMENT_FILES if environments else {})
    there = [name for name in files if (root / name).exists() or (root / name).is_symlink()]
    if there:
        raise UsageError(
            f"nothing was written: {', '.join(there)} {'is' if len(there) == 1 else 'are'} there already",
            hint="choose a new folder: reconciler init DIR",
        )
    try:
        for name, template in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            text = (_STARTER / template).read_text("utf-8")
            for word, value in _values(requirement, environments=environments).items():
                text = text.replace(f"{{{{{word}}}}}", value)
            with (root / name).open("x", encoding="utf-8") as file:
                file.write(text)
            click.echo(f"wrote {root / name}")
    except OSError as error:
        raise UsageError(f"{error.filename or root} can't be written: {error.strerror or error}") from error
    inside = "" if root == Path() else f"cd {root} && "
    click.echo(f"\nTry it:  {inside}reconciler dev manifests{' --env staging' if environments else ''}")


def _values(requirement: str, *, environments: bool) -> dict[str, str]:
    """What stands in the place of ``{{words}}``; spaces keep comments behind it in one column."""
    in_staging, in_prod = " --env staging", " --env prod"
    return {
        "requirement": requirement,
        "desired": "${COUNT}" if environments else "2",
        "in_staging": in_staging if environments else " " * len(in_staging),
        "in_prod": in_prod if environments else " " * len(in_prod),
        "environments": (_STARTER / "README.environments.txt").read_text("utf-8") if environments else "",
    }
