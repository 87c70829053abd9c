"""``reconciler hosts``."""

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, read_fleet, store_option


@click.group(invoke_without_command=True)
@store_option
@format_option("text", "json")
@click.pass_context
def hosts(context: click.Context, store_url: str | None, output_format: str) -> None:
    """Show the hosts: whether their agents are alive, and how full they are.

    MEMORY is in MiB and CPU in units of 1/1024 of a core; both as promised to tasks, of what there is.
    """
    if context.invoked_subcommand is not None:
        context.obj = (store_url, output_format)
        return
    from reconciler.queries import hosts as query

    rows = query.hosts(read_fleet(store_url))
    if output_format == "json":
        output.print_json(rows)
        return
    output.print_table(
        ("host", "agent", "address", "tasks", "healthy", "memory", "cpu", "executors", "tags"),
        [
            (
                row.host,
                "gone" if not row.present else "draining" if row.draining else "ok",
                row.address,
                row.tasks,
                row.healthy,
                f"{row.memory_used}/{row.memory}",
                f"{row.cpu_units_used}/{row.cpu_units}",
                ",".join(row.executors),
                ",".join(f"{name}={value}" for name, value in sorted(row.tags.items())),
            )
            for row in rows
        ],
        empty="no host has reported itself yet: start an agent with `reconciler agent`",
    )


@hosts.command()
@click.argument("host")
@click.option("--gone", "is_gone", is_flag=True, help="Nothing runs there any more, though tasks are issued there.")
@store_option
@format_option("text", "json")
@click.pass_context
def forget(context: click.Context, host: str, is_gone: bool, store_url: str | None, output_format: str) -> None:
    """Remove HOST, which is gone for good, from the store.

    What its agent said goes, and a `drain` by hand; not what manifests say of it. Refused while its agent is there, and
    while tasks are issued there, unless you are certain that it is --gone: then it counts no longer among the missing
    hosts, more than a third of which keep the scheduler from replacing anything. An agent that comes back under this
    name reports itself anew, and stops what is not issued to it any more.
    """
    from reconciler import wiring
    from reconciler.operations import hosts as operation

    outer_url, outer_format = context.obj
    with wiring.open_store(store_url or outer_url) as store:
        done = operation.forget(store, host, is_gone=is_gone)
    if "json" in (output_format, outer_format):
        output.print_json(done)
        return
    click.echo(f"host {host} is forgotten")
    if done.tasks:
        click.echo(f"{len(done.tasks)} tasks that were issued there are replaced once it is lost to their services")
