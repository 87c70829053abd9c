"""``reconciler apply``."""

from pathlib import Path

import click

from reconciler.cli import output
from reconciler.cli.options import environment_option, format_option, store_option
from reconciler.cli.waiting import HEALTHY, wait_healthy, wait_options
from reconciler.errors import UsageError


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    help="A manifest or a folder of them; `-` reads standard input. May be given several times.",
)
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of manifests: what `reconciler plan --out FILE` wrote. Refused if anything it rests on has moved.",
)
@click.option(
    "--abandon-unfinished",
    is_flag=True,
    help="Go on although an earlier apply was killed before it had written everything, and its files are gone.",
)
@environment_option
@wait_options(HEALTHY)
@store_option
@format_option("text", "json")
def apply(
    files: tuple[str, ...],
    plan_file: Path | None,
    abandon_unfinished: bool,
    environment: str | None,
    wait: bool,
    timeout_s: float,
    store_url: str | None,
    output_format: str,
) -> None:
    """Write manifests or a saved plan to the store by hand.

    Everything is checked first; nothing is written unless all of it is valid. Objects that are not mentioned stay:
    `apply` never removes anything. What a `sync` source manages is refused.
    """
    from reconciler import wiring
    from reconciler.cli.inputs import read_files
    from reconciler.operations import apply as operation
    from reconciler.operations import saved_plan
    from reconciler.operations.apply_plan import apply_plan
    from reconciler.sync.passes import APPLY

    if bool(files) == bool(plan_file):
        raise UsageError("apply needs manifests, or a plan", hint="Give --file FILE… or --plan FILE.")
    if plan_file and abandon_unfinished:
        raise UsageError("--abandon-unfinished goes with --file: a plan knows what it rests on")
    if plan_file and environment:
        raise UsageError("--env goes with --file: a plan is for the environment that it was made for")
    saved = saved_plan.read(plan_file) if plan_file else None
    contents = read_files(files)
    with wiring.open_store(store_url) as store:
        wiring.ready(store)
        if saved is not None:
            result, source = apply_plan(store, saved), saved.declared.identity.source
        else:
            source = APPLY
            result = operation.apply(store, contents, abandon_unfinished=abandon_unfinished, environment=environment)
        if output_format == "json":
            output.print_json(result)
        else:
            for line in result.lines():
                click.echo(line)
        if wait:
            wait_healthy(store, [each.key for each in result.applied], source, timeout_s)
