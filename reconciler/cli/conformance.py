"""``reconciler conformance``."""

import sys

import click

from reconciler.cli import output
from reconciler.cli.moments import Duration
from reconciler.cli.options import format_option, store_option


@click.command()
@click.option("--cluster", required=True, metavar="NAME", help="The cluster to play with; it must not exist yet.")
@click.option(
    "--scheduler",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The scheduler to test: the name that clusters give in `scheduler`.",
)
@click.option(
    "--only", "parts", multiple=True, metavar="PART", help="Play only this part of the script (may be repeated)."
)
@click.option(
    "--patience",
    "patience_s",
    type=Duration(1.0),
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for what should come of a change.",
)
@click.option(
    "--lost-within",
    "lost_s",
    type=Duration(1.0),
    default="75s",
    show_default=True,
    metavar="DURATION",
    help="How long a host may be missing before its tasks have to run elsewhere.",
)
@store_option
@format_option("text", "json")
def conformance(
    cluster: str,
    scheduler: str,
    parts: tuple[str, ...],
    patience_s: float,
    lost_s: float,
    store_url: str | None,
    output_format: str,
) -> None:
    """Find out which rules a scheduler keeps, whatever language it is written in.

    Start the scheduler under test (two of it, to see one take over) on a store of its own, such as a prefix in Consul,
    and then this. It declares services, pretends to have hosts, changes one thing after another, and judges every step
    that the scheduler takes. It needs about two minutes, removes all that it made, and refuses a store that is in use.

    Exit code 0: every rule that was put to the test was kept; 1: one was broken, or the script came to no end.
    docs/external-schedulers.md explains the rules.
    """
    from reconciler import wiring
    from reconciler.operations.conformance.run import run

    with wiring.open_store(store_url) as store:
        wiring.ready(store)
        report = run(
            store,
            cluster=cluster,
            scheduler=scheduler,
            parts=parts,
            patience_s=patience_s,
            lost_s=lost_s,
            say=lambda text: click.echo(text, err=True),
        )
    if output_format == "json":
        output.print_json(report)
    else:
        rows = [
            (each.rule, each.verdict, each.checks, text if not number else f"… {text}")
            for each in report.rules
            for number, text in enumerate(each.evidence)
        ]
        output.print_table(("rule", "verdict", "checks", "evidence"), rows, empty="")
        if report.stopped:
            click.echo(f"the script was not played to its end: {report.stopped}")
    sys.exit(0 if report.is_kept else 1)
