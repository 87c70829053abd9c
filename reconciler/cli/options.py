"""Options that several commands share, so that they read and behave alike everywhere.

A family of options reaches the command as one value: ``@agent_options`` gives it ``agent_options: AgentOptions``.
"""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

from reconciler.cli.moments import Duration
from reconciler.runtime.whoami import whoami

if TYPE_CHECKING:
    from reconciler.agent.loop import AgentDaemon
    from reconciler.model.events import Emit
    from reconciler.queries.fleet import Fleet
    from reconciler.runtime.http_access import Access
    from reconciler.store.interface import Store

F = TypeVar("F", bound=Callable[..., Any])


class AgentOptions(msgspec.Struct, frozen=True):
    """What names and places an agent; None: found out."""

    host: str | None
    address: str | None
    runtime_dir: Path | None
    secrets_dir: Path | None
    port_range: tuple[int, int] | None
    executors: tuple[str, ...]
    policy: Path | None
    keep_ended_s: float
    keep_downloads_s: float
    download_mb: int

    def agent(
        self,
        store: "Store",
        *,
        emit: "Emit | None" = None,
        runtime_dir: Path | None = None,
        secrets_dir: Path | None = None,
    ) -> "AgentDaemon":
        """The agent that the options describe; ``runtime_dir`` and ``secrets_dir`` are for when they name none."""
        from reconciler import wiring
        from reconciler.executors.interface import Keep

        return wiring.agent(
            store,
            host=self.host,
            address=self.address,
            runtime_dir=self.runtime_dir or runtime_dir,
            secrets_dir=self.secrets_dir or secrets_dir,
            port_range=self.port_range,
            executors=self.executors,
            policy=self.policy,
            keep=Keep(
                ended_s=self.keep_ended_s,
                downloads_s=self.keep_downloads_s,
                download_bytes=self.download_mb << 20,
            ),
            emit=emit,
        )


class DaemonOptions(msgspec.Struct, frozen=True):
    """How a process that stays up speaks to others. ``bind`` None: no HTTP."""

    bind: tuple[str, int] | None
    http_token_file: Path | None
    http_cert: Path | None
    http_key: Path | None
    http_client_ca: Path | None
    log_format: str
    log_level: str

    def access(self) -> "Access":
        """Who may ask what over HTTP. Raises UsageError when the options say nothing that makes sense."""
        from reconciler.runtime import http_access

        return http_access.access(self.http_token_file, self.http_cert, self.http_key, self.http_client_ca)

    def set_up_log(self) -> None:
        """Send the log where and how the options say."""
        from reconciler.runtime import log

        log.set_up(json=self.log_format == "json", level=self.log_level)


def store_option(function: F) -> F:
    """``--store URL``; None when not given: the local Consul, or what the command says."""
    return click.option(
        "--store",
        "store_url",
        envvar="RECONCILER_STORE",
        metavar="URL",
        help="Where the state is kept: consul://HOST:PORT[/PREFIX], consul+https://…, sqlite:///PATH. "
        "The default is the local Consul, as CONSUL_HTTP_ADDR and its like say. [env: RECONCILER_STORE]",
    )(function)


def environment_option(function: F) -> F:
    """``--env NAME``; None when not given."""
    return click.option(
        "--env",
        "environment",
        metavar="NAME",
        help="Which environment is meant, of those that reconciler.yaml declares (docs/environments.md).",
    )(function)


def notify_option(function: F) -> F:
    """``--notify FILE``; None when not given."""
    return click.option(
        "--notify",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Whom to tell what becomes of each revision: commit statuses at GitHub, GitLab, Gitea, and webhooks "
        "(docs/reporting.md).",
    )(function)


def format_option(*formats: str) -> Callable[[F], F]:
    """``--format``; the first one is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the answer.",
    )


def daemon_options(port: int) -> Callable[[F], F]:
    """``--http``, ``--log-format`` and ``--log-level`` of a process that stays up, as ``daemon_options``."""
    options = [
        click.option(
            "--http",
            "bind",
            callback=_bind,
            default=f"127.0.0.1:{port}",
            show_default=True,
            metavar="HOST:PORT",
            help="Where to serve /healthz, /readyz, /metrics and, an agent, /v1; port 0 takes any free one, `off` "
            "serves nothing. An agent that others than this machine reach needs a token or --http-client-ca.",
        ),
        http_token_option,
        http_file_option("--http-cert", "The certificate, and those between it and its root: serve HTTPS only."),
        http_file_option("--http-key", "The key of that certificate."),
        http_file_option("--http-client-ca", "Serve only those who show a certificate that this CA has signed."),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            envvar="RECONCILER_LOG_FORMAT",
            help="Lines for people, or one JSON object a line.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            envvar="RECONCILER_LOG_LEVEL",
            help="The least that is logged.",
        ),
    ]
    return lambda function: family(function, "daemon_options", DaemonOptions, options)


def http_token_option(function: F) -> F:
    """``--http-token-file FILE``."""
    what = "The token that /v1 asks for; the token itself may be in RECONCILER_HTTP_TOKEN."
    return _with(function, [http_file_option("--http-token-file", what)])


def http_file_option(name: str, what: str) -> Callable[[Any], Any]:
    """A PEM file or a secret; its name may come from the environment."""
    variable = "RECONCILER_" + name.removeprefix("--").replace("-", "_").upper()
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option(name, metavar="FILE", type=kind, envvar=variable, help=f"{what} [env: {variable}]")


def by_option(function: F) -> F:
    """``--by NAME``: who says so."""
    return click.option(
        "--by",
        metavar="NAME",
        default=whoami,
        show_default="you, on this machine",
        help="Who wants it so; for people to read.",
    )(function)


def port_range_option(function: F) -> F:
    """``--port-range FIRST-LAST``."""
    return click.option(
        "--port-range",
        metavar="FIRST-LAST",
        callback=_port_range,
        envvar="RECONCILER_PORT_RANGE",
        help="From which ports tasks are given theirs; 20000-29999 if not given. config/hosts has the last word.",
    )(function)


def agent_options(function: F) -> F:
    """``--host`` and what else places an agent, as ``agent_options``."""
    options = [
        click.option("--host", metavar="NAME", help="This host's name in the store; the machine's if not given."),
        click.option(
            "--address",
            metavar="IP",
            help="The address under which tasks on this host are reached; found out if not given.",
        ),
        click.option(
            "--runtime-dir",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            envvar="RECONCILER_RUNTIME_DIR",
            help="Where logs and other small files of running tasks are kept.",
        ),
        click.option(
            "--secrets-dir",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where values are that manifests name with `file:`; nothing outside of it is ever given to a task. "
            "/etc/reconciler/secrets if not given, .reconciler/secrets for `dev`.",
        ),
        port_range_option,
        click.option(
            "--executor",
            "executors",
            multiple=True,
            type=click.Choice(["docker", "bash"]),
            help="Offer only these executors (may be repeated); all of them if not given.",
        ),
        click.option(
            "--policy",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="RECONCILER_POLICY",
            help="This host's execution policy: which images, mounts, users and flags tasks may use, whatever "
            "manifests say. The default is /etc/reconciler/policy.yml, and a safe one without it. "
            "[env: RECONCILER_POLICY]",
        ),
        click.option(
            "--keep-ended",
            "keep_ended_s",
            metavar="DURATION",
            type=Duration(0.0),
            default="1h",
            show_default=True,
            help="How long ended containers of failed tasks that are gone are kept, for `logs --host`; 0: not at all.",
        ),
        click.option(
            "--keep-downloads",
            "keep_downloads_s",
            metavar="DURATION",
            type=Duration(0.0),
            default="168h",
            show_default=True,
            help="How long artifacts that no task of this host names are kept.",
        ),
        click.option(
            "--max-downloads",
            "download_mb",
            metavar="MIB",
            type=click.IntRange(0),
            default=10 * 1024,
            show_default=True,
            help="How much room kept artifacts may take, but for those that tasks of this host name.",
        ),
    ]
    return family(function, "agent_options", AgentOptions, options)


def revision_options(function: F) -> F:
    """Which revision of a git repository to look at, where files could be named instead."""
    options = (
        click.option("--git", "git_url", metavar="URL", help="A git repository, instead of files."),
        click.option("--branch", metavar="B", help="The branch; the repository's default branch if not given."),
        click.option("--tag", metavar="T", help="A tag instead of a branch."),
        click.option("--commit", metavar="SHA", help="One commit."),
        click.option("--path", metavar="P", default="", help="Only manifests below this folder of the repository."),
    )
    return _with(function, options)


def family(function: F, name: str, kind: type[msgspec.Struct], options: Sequence[Callable[[Any], Any]]) -> F:
    """Give ``function`` the options' values as one ``kind`` in its argument ``name``; defaults where there is none."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        values[name] = kind(**{field: values.pop(field) for field in kind.__struct_fields__ if field in values})
        return function(**values)

    return _with(cast("F", command), options)


def _with(function: F, options: Sequence[Callable[[F], Any]]) -> F:
    """``function`` with the options, which ``--help`` shows in their order."""
    for option in reversed(options):
        function = option(function)
    return function


def _bind(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int] | None:
    """``HOST:PORT``, ``:PORT``, ``PORT`` or ``off`` (None)."""
    if value == "off":
        return None
    host, _, port = value.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", ctx, param)
    return host.strip("[]") or "127.0.0.1", int(port)


def _port_range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``FIRST-LAST``, both included."""
    if value is None:
        return None
    first, _, last = value.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) < 65536):
        raise click.BadParameter(f"{value!r} is not FIRST-LAST", ctx, param)
    return int(first), int(last)


def read_fleet(store_url: str | None) -> "Fleet":
    """What the store holds now, for the commands that only look."""
    from reconciler import wiring
    from reconciler.queries import fleet

    with wiring.open_store(store_url) as store:
        return fleet.read(store, time.time())
