"""One log set-up for every command: lines for people, or JSON for machines, on standard error."""

import logging
import sys
import time

import msgspec

from reconciler.model.events import Event, Level

_LEVELS = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
_events = logging.getLogger("reconciler.events")


class TextFormatter(logging.Formatter):
    """``12:00:01 warning  agent  web-1-2: exited with 1``"""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        loop = getattr(record, "loop", record.name.removeprefix("reconciler."))
        text = f"{at} {record.levelname.lower():<7}  {loop:<10} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time, level, logger, message`` and, for events, ``loop, subject``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("loop", "subject"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up(*, json: bool = False, level: str = "info") -> None:
    """Send everything at ``level`` and above to standard error. Other libraries speak only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(level.upper())


def emit(event: Event) -> None:
    """Log an event; the ``emit`` that daemons are given unless somebody shows events otherwise."""
    _events.log(
        _LEVELS[event.level],
        "%s: %s",
        event.subject,
        event.message,
        extra={"loop": event.loop, "subject": event.subject},
    )
