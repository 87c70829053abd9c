"""``reconciler sync``."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.deletions import max_deletions_option
from reconciler.cli.moments import Duration
from reconciler.cli.options import DaemonOptions, daemon_options, environment_option, notify_option, store_option
from reconciler.cli.waiting import HEALTHY, wait_healthy, wait_options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.manifests.source import Source
    from reconciler.notify.receivers import Audience
    from reconciler.sync.brake import DeletionLimit


@click.command()
@click.option("--git", "git_url", metavar="URL", help="A git repository: https, ssh, git, file or a local path.")
@click.option("--branch", metavar="B", help="The branch to follow; the repository's default branch if not given.")
@click.option("--tag", metavar="T", help="A tag to follow instead of a branch.")
@click.option("--commit", metavar="SHA", help="One commit, for ever.")
@click.option("--path", metavar="P", default="", help="Only manifests below this folder of the repository.")
@click.option(
    "--watch",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder instead of a git repository.",
)
@environment_option
@click.option(
    "--name",
    metavar="NAME",
    help="The source's name; the repository's or folder's own if not given, with the environment's after a dash.",
)
@click.option(
    "--poll",
    "poll_s",
    metavar="DURATION",
    type=Duration(),
    default="30s",
    show_default=True,
    help="How often to look for news when no webhook tells.",
)
@click.option("--once", is_flag=True, help="One pass, then exit: 0 applied or nothing to do, 1 refused, 2 could not.")
@click.option(
    "--verify-signatures",
    "signers",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Apply only commits that are signed by a key in FILE: ssh keys as in git's gpg.ssh.allowedSignersFile, or gpg "
    "public keys as `gpg --armor --export` writes them. May be given more than once.",
)
@click.option(
    "--drift",
    type=click.Choice(["heal", "report"]),
    default="heal",
    show_default=True,
    help="What to do about objects that somebody changed by hand: put them right, or only show them in `status`.",
)
@click.option(
    "--gate",
    is_flag=True,
    envvar="RECONCILER_GATE",
    help="Take a commit back as a whole when the services that it changes do not become healthy.",
)
@click.option(
    "--gate-timeout",
    "gate_timeout_s",
    metavar="DURATION",
    type=Duration(1.0),
    default="5m",
    show_default=True,
    envvar="RECONCILER_GATE_TIMEOUT",
    help="How long they have with --gate. Time in which nobody can know, or no host has room, does not count.",
)
@wait_options(HEALTHY, "How long --wait and --gate wait at most, with --once.")
@max_deletions_option
@click.option(
    "--webhook-secret-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="RECONCILER_WEBHOOK_SECRET_FILE",
    help="Listen for pushes at POST /webhook on --http; the file holds the secret they are signed with. "
    "The secret itself may be in RECONCILER_WEBHOOK_SECRET.",
)
@notify_option
@store_option
@daemon_options(8233)
def sync(
    git_url: str | None,
    branch: str | None,
    tag: str | None,
    commit: str | None,
    path: str,
    directory: Path | None,
    environment: str | None,
    name: str | None,
    poll_s: float,
    once: bool,
    signers: tuple[Path, ...],
    drift: str,
    gate: bool,
    gate_timeout_s: float,
    wait: bool,
    timeout_s: float,
    limit: "DeletionLimit",
    webhook_secret_file: Path | None,
    notify: Path | None,
    store_url: str | None,
    daemon_options: DaemonOptions,
) -> None:
    """Keep the store's config equal to a git repository or a folder of manifests.

    A revision is applied as a whole or not at all: one invalid manifest stops it, the last good revision stays, and
    `reconciler status` says why. What this source once declared and no longer does is removed; what others declare is
    never touched. Run several for one repository: one works, the others stand by.

    Credentials come by git's own means (ssh agent, credential helper), never in the URL.
    """
    from reconciler import wiring
    from reconciler.runtime import log, webhook
    from reconciler.runtime.http import Site
    from reconciler.runtime.process import serve
    from reconciler.sync import once as one_pass

    _check_once(once=once, wait=wait, notify=notify)
    if gate and directory is not None:
        raise UsageError("--gate goes with --git: a folder has no earlier revision to go back to")
    daemon_options.set_up_log()
    source = wiring.source(
        git_url=git_url,
        branch=branch,
        tag=tag,
        commit=commit,
        path=path,
        directory=directory,
        name=name,
        signers=signers,
        environment=environment,
    )
    audience = _audience(notify, source, git_url, branch) if notify else None
    with wiring.open_store(store_url) as store:
        health_gate = wiring.health_gate(store, gate_timeout_s if gate else None)
        if once:
            wiring.ready(store)
            outcome = one_pass.sync_once(
                store,
                source,
                emit=log.emit,
                heals=drift == "heal",
                limit=limit,
                health_gate=health_gate,
                wait_s=timeout_s,
            )
            click.echo(outcome)
            if wait:
                wait_healthy(store, [change.key for change in outcome.changes], source.name, timeout_s)
            return
        secret = webhook.secret(webhook_secret_file, os.environ)
        daemon = wiring.sync(store, source, poll_s=poll_s, heals=drift == "heal", limit=limit, health_gate=health_gate)
        routes = [webhook.Webhook(secret, daemon.notify, now=time.time).route] if secret else []
        reporters = [wiring.reporter(store, daemon, audience)] if audience else []
        serve([daemon, *reporters], bind=daemon_options.bind, access=daemon_options.access(), site=Site(routes))


def _check_once(*, once: bool, wait: bool, notify: Path | None) -> None:
    if wait and not once:
        raise UsageError("--wait goes with --once")
    if notify and once:
        raise UsageError(
            "--notify goes without --once: who tells of a revision has to stay until it is healthy",
            hint="In CI, `sync --once --wait` exits with 1 and the reasons unless all becomes healthy.",
        )


def _audience(notify: Path, source: "Source", git_url: str | None, branch: str | None) -> "Audience":
    """Who is told of the source's revisions, with their secrets at hand."""
    from reconciler.notify.receivers import read_place
    from reconciler.operations import notifying

    about = notifying.about(source, git_url=git_url, branch=branch)
    audience = notifying.audience(notifying.notifications(notify), about)
    notifying.check_secrets(audience, read_place(os.environ))
    return audience
