"""``reconciler notify``."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli import output
from reconciler.cli.options import environment_option, format_option, notify_option, revision_options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.operations.notifying import Shown


@click.group()
def notify() -> None:
    """Try out who is told what becomes of revisions (docs/reporting.md)."""


@notify.command()
@notify_option
@revision_options
@environment_option
@click.option("--name", metavar="NAME", help="The source's name, as for `sync`.")
@click.option("--receiver", "names", metavar="NAME", multiple=True, help="Only this one; may be given more than once.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sent; in the place of a secret, where it is.")
@format_option("text", "json")
def test(
    notify: Path | None,
    git_url: str | None,
    branch: str | None,
    tag: str | None,
    commit: str | None,
    path: str,
    environment: str | None,
    name: str | None,
    names: tuple[str, ...],
    dry_run: bool,
    output_format: str,
) -> None:
    """Send a test message to each receiver, and say what it answered.

    Give the options that `sync` is given; without --git only webhooks can be tried. The newest commit, or that of
    --commit, gets a status whose name ends with /test, so that it covers none of the real ones.

    \b
    reconciler notify test --notify notify.yml --git https://github.com/team/fleet.git --env prod --dry-run
    reconciler notify test --notify notify.yml --git https://github.com/team/fleet.git --env prod

    Exit codes: 0 all took it, 1 one did not, 2 could not try.
    """
    from reconciler import wiring
    from reconciler.notify.receivers import About, read_place
    from reconciler.operations import notifying
    from reconciler.runtime.whoami import whoami

    if notify is None:
        raise UsageError("nothing says who is told", hint="give --notify FILE (docs/reporting.md)")
    settings = notifying.notifications(notify)
    if git_url is None:
        about = About(source=name or "test", environment=environment or "", context="")
        audience, revision = notifying.audience(settings, about, names), commit or "test"
    else:
        source = wiring.source(
            git_url=git_url, branch=branch, tag=tag, commit=commit, path=path, name=name, environment=environment
        )
        audience = notifying.audience(settings, notifying.about(source, git_url=git_url, branch=branch), names)
        with contextlib.closing(source):
            revision = commit or source.read().id
    if dry_run:
        _show(notifying.shown(audience, revision, whoami()), output_format)
        return
    sent = notifying.send_test(audience, revision, whoami(), read=read_place(os.environ), now=time.time())
    if output_format == "json":
        output.print_json(sent)
    else:
        for answer in sent:
            click.echo(f"{answer.receiver}: {answer.to} {answer.answer}")
    if not all(answer.delivered for answer in sent):
        sys.exit(1)


def _show(requests: "Sequence[Shown]", output_format: str) -> None:
    if output_format == "json":
        output.print_json(requests)
        return
    for each in requests:
        headers = "".join(f"  {header}: {value}\n" for header, value in each.headers.items())
        click.echo(f"{each.receiver}\n  POST {each.url}\n{headers}\n  {each.body}\n")
