"""The life of a daemon process: start everything, wait for SIGTERM or Ctrl-C, stop everything in reverse."""

import faulthandler
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from reconciler.runtime.http import HttpServer, Site, daemon_routes
from reconciler.runtime.http_access import Access
from reconciler.runtime.runner import Daemon

log = logging.getLogger(__name__)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set. A second one ends the process at once; SIGUSR1 prints all stacks."""
    stop = threading.Event()

    def asked(number: int, _: object) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    faulthandler.register(signal.SIGUSR1)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for(stop: threading.Event) -> None:
    """Wait for the signal. In steps: the kernel may give it to another thread, which does not wake this one's wait, and
    only this one runs Python's signal handlers.
    """
    while not stop.wait(0.5):
        pass


def serve(
    daemons: Sequence[Daemon],
    *,
    bind: tuple[str, int] | None,
    access: Access = Access(),  # noqa: B008 - immutable
    site: Site = Site(),  # noqa: B008 - immutable
    until: Callable[[threading.Event], None] | None = None,
) -> None:
    """Run ``daemons`` and one HTTP server until a signal comes, or ``until`` returns (it is given the stop event).

    Raises:
        UsageError: the address cannot be bound; nothing was started.
    """
    server = HttpServer(*bind, routes=daemon_routes(daemons, site), access=access) if bind else None
    with stop_signals() as stop:
        started: list[Daemon] = []
        try:
            if server is not None:
                server.start()
                log.info("listening on %s", server.url)
                site.announce(server.url)
            for daemon in daemons:
                daemon.start()
                started.append(daemon)
            if until is None:
                wait_for(stop)
            else:
                until(stop)
        finally:
            log.info("stopping")
            for daemon in reversed(started):
                daemon.stop()
            if server is not None:
                server.stop()
