"""``reconciler adopt``."""

import time
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli import output
from reconciler.cli.moments import Duration
from reconciler.cli.options import by_option, format_option, store_option

if TYPE_CHECKING:
    from reconciler.model.intents import Adoption
    from reconciler.operations.adopt import Adopted, Proposal
    from reconciler.store.interface import Store

LOOK_AGAIN_S: Final = 0.5


@click.command()
@click.argument("source")
@click.argument("objects", metavar="[OBJECT]...", nargs=-1)
@click.option("--from", "origins", metavar="OTHER", multiple=True, help="The source that has them; may be repeated.")
@click.option("--unmanaged", is_flag=True, help="What no source has: objects that were written by hand.")
@click.option("--all", "is_all", is_flag=True, help="All that SOURCE declares of what the others have.")
@click.option("--with-changes", is_flag=True, help="Also what SOURCE declares with other content than is stored.")
@click.option(
    "--abandon-unfinished",
    is_flag=True,
    help="Also from a source that was ended in the middle of a revision, for good.",
)
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@click.option("--cancel", is_flag=True, help="Take back what SOURCE has not carried out yet.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="DURATION",
    type=Duration(),
    default="2m",
    show_default=True,
    help="How long to wait until SOURCE has carried it out.",
)
@by_option
@store_option
@format_option("text", "json")
def adopt(
    source: str,
    objects: tuple[str, ...],
    origins: tuple[str, ...],
    unmanaged: bool,
    is_all: bool,
    with_changes: bool,
    abandon_unfinished: bool,
    dry_run: bool,
    cancel: bool,
    timeout_s: float,
    by: str,
    store_url: str | None,
    output_format: str,
) -> None:
    """Hand objects over to SOURCE from another source (or from nobody), without restarting anything.

    First commit them to SOURCE, whose `reconciler sync` refuses that and names this command; then adopt them; then
    take them out of the other one. An OBJECT is such as services/web, clusters/main, task_definitions/web/3, hosts/h1.

    \b
    Move a service:      reconciler adopt fleet --from old services/web task_definitions/web/1
    Rename a source:     reconciler adopt new-name --from old-name --all
    From `apply -f`:     reconciler adopt fleet --from apply --all
    """
    from reconciler import wiring
    from reconciler.errors import UsageError
    from reconciler.model.intents import UNMANAGED, Adoption
    from reconciler.operations import adopt as operation

    if cancel:
        with wiring.open_store(store_url) as store:
            taken_back = (operation.to_take_back if dry_run else operation.withdraw)(store, source)
        if output_format == "json":
            output.print_json({"source": source, "taken_back": taken_back})
        else:
            click.echo(_taken_back(source, taken_back, dry_run=dry_run))
        return
    if not origins and not unmanaged:
        raise UsageError("say which source has them: --from OTHER, or --unmanaged")
    if bool(objects) == is_all:
        raise UsageError("say which objects, or --all")
    adoption = Adoption(
        origins=(*dict.fromkeys(origins), *((UNMANAGED,) if unmanaged else ())),
        objects=tuple(sorted({operation.key_of(each) for each in objects})),
        with_changes=with_changes,
        abandon_unfinished=abandon_unfinished,
        by=by,
        since=time.time(),
    )
    with wiring.open_store(store_url) as store:
        before = operation.carried_out(store, source, adoption)
        if before is not None:
            _answer(before, output_format)
            return
        proposal = operation.propose(store, source, adoption)
        if dry_run:
            if output_format == "json":
                output.print_json(proposal)
            else:
                _show(proposal)
            return
        done = _carry_out(store, proposal, adoption, timeout_s)
    _answer(done, output_format)


def _carry_out(store: "Store", proposal: "Proposal", adoption: "Adoption", timeout_s: float) -> "Adopted":
    """Order it, and wait; what was refused is not left behind as an order."""
    from reconciler.errors import RevisionRefused
    from reconciler.operations import adopt as operation

    source, told = proposal.source, ""
    owners = operation.owners_of(store, adoption.origins)
    adoption = operation.order(store, source, adoption)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            is_done, how = operation.look(store, source, adoption)
        except RevisionRefused:
            operation.withdraw(store, source)
            raise
        if is_done:
            return operation.conclude(store, proposal, adoption, owners)
        if how != told:
            told = how
            click.echo(how, err=True)
        if time.monotonic() >= deadline:
            raise RevisionRefused(
                f"after {timeout_s:g} s it is not carried out: {how}",
                hint=f"It stays ordered, and {source} carries it out when it can; "
                f"`reconciler adopt {source} --cancel` takes it back.",
            )
        time.sleep(LOOK_AGAIN_S)


def _show(proposal: "Proposal") -> None:
    for each in proposal.moves:
        changes = f"; changes {', '.join(each.fields)}" if each.fields else ""
        click.echo(f"{each.object}: {_named(each.owner)} → source {proposal.source}{changes}")
    for name in proposal.stays:
        click.echo(f"{name}: stays where it is, since {proposal.source} does not declare it")
    more = "" if proposal.is_all else " and more"
    click.echo(
        f"{len(proposal.moves)} objects{more} would change hands; nothing is started, stopped or deleted by that"
    )


def _answer(done: "Adopted", output_format: str) -> None:
    if output_format == "json":
        output.print_json(done)
        return
    for each in done.adopted:
        click.echo(f"{each.object}: {_named(each.owner)} → source {done.source}")
    if done.stays:
        click.echo(f"not declared by {done.source}, and left where it is: {', '.join(done.stays)}")
    for name in done.ended:
        click.echo(f"source {name} has nothing left, and is no more")
    click.echo(f"{len(done.adopted)} objects adopted by {done.source}")


def _taken_back(source: str, ordered: "Adoption | None", *, dry_run: bool) -> str:
    if ordered is None:
        return f"{source} adopts nothing; there {'is' if dry_run else 'was'} nothing to take back"
    what = f"{len(ordered.objects)} objects" if ordered.objects else "all"
    order = f"{what} of {', '.join(map(_named, ordered.origins))}, ordered by {ordered.by}"
    return f"{source} would not adopt {order}" if dry_run else f"{source} adopts nothing; taken back: {order}"


def _named(owner: str) -> str:
    return f"source {owner}" if owner else "nobody"
