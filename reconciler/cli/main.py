"""The program ``reconciler``: finds the command, prints errors a person can act on, sets the exit code.

Commands are imported when they are called, so that ``reconciler validate`` starts without docker, git or Consul.
"""

import importlib
import sys
from typing import Final

import click

from reconciler import __version__
from reconciler.errors import ReconcilerError

SECTIONS: Final = {
    "Manifests": {
        "init": "reconciler.cli.init:init",
        "validate": "reconciler.cli.validate:validate",
        "rules": "reconciler.cli.rules:rules",
        "bump": "reconciler.cli.bump:bump",
        "render": "reconciler.cli.render:render",
        "plan": "reconciler.cli.plan:plan",
        "snapshot": "reconciler.cli.snapshot:snapshot",
    },
    "Run it": {
        "dev": "reconciler.cli.dev:dev",
        "sync": "reconciler.cli.sync:sync",
        "scheduler": "reconciler.cli.scheduler:scheduler",
        "agent": "reconciler.cli.agent:agent",
        "combined": "reconciler.cli.combined:combined",
        "apply": "reconciler.cli.apply:apply",
        "demo": "reconciler.cli.demo:demo",
    },
    "Look": {
        "status": "reconciler.cli.status:status",
        "tasks": "reconciler.cli.tasks:tasks",
        "hosts": "reconciler.cli.hosts:hosts",
        "explain": "reconciler.cli.explain:explain",
        "events": "reconciler.cli.events:events",
        "logs": "reconciler.cli.logs:logs",
        "history": "reconciler.cli.history:history",
    },
    "Sources, by hand": {
        "approve": "reconciler.cli.approve:approve",
        "rollback": "reconciler.cli.rollback:rollback",
        "suspend": "reconciler.cli.suspend:suspend",
        "resume": "reconciler.cli.suspend:resume",
        "adopt": "reconciler.cli.adopt:adopt",
        "notify": "reconciler.cli.notify:notify",
    },
    "Services and hosts, by hand": {
        "scale": "reconciler.cli.scale:scale",
        "restart": "reconciler.cli.restart:restart",
        "rebalance": "reconciler.cli.rebalance:rebalance",
        "stop": "reconciler.cli.stop:stop",
        "start": "reconciler.cli.stop:start",
        "promote": "reconciler.cli.promote:promote",
        "abort": "reconciler.cli.promote:abort",
        "drain": "reconciler.cli.drain:drain",
        "undrain": "reconciler.cli.drain:undrain",
        "pause": "reconciler.cli.pause:pause",
        "unpause": "reconciler.cli.pause:unpause",
    },
    "The store, and your own scheduler": {
        "store": "reconciler.cli.store:store",
        "conformance": "reconciler.cli.conformance:conformance",
    },
}
"""Title → name → where the click command is; in the order in which --help shows them."""
COMMANDS: Final = {name: where for section in SECTIONS.values() for name, where in section.items()}


class LazyGroup(click.Group):
    """Imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By section, since there are many."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                found = ((name, self.get_command(ctx, name)) for name in section)
                formatter.write_dl([(name, each.get_short_help_str(120)) for name, each in found if each], col_max=14)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="reconciler")
def reconciler() -> None:
    """Commit manifests, and let it run: a reconciler and container scheduler on plain Consul.

    \b
    Try it:     reconciler dev examples/hello-world-bash
    In CI:      reconciler validate manifests/
    For real:   reconciler sync --git URL · reconciler scheduler · reconciler agent
    """


def main() -> None:
    """Entry point of the console script. Exit codes: 0 done, 1 the answer is no, 2 could not."""
    try:
        reconciler.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(1 if "--detailed-exitcode" in sys.argv else 2)  # with that, 2 means that something would change
    except ReconcilerError as error:
        click.echo(f"reconciler: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
