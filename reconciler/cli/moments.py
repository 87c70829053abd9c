"""Times as people write them on a command line: ``2h``, or ``2031-05-01T08:00`` in UTC."""

from datetime import UTC, datetime

from reconciler.errors import UsageError
from reconciler.model.durations import parse_duration


def moment(option: str, text: str, now: float, *, ahead: bool) -> float:
    """Seconds since 1970. A duration counts from ``now``: forward if ``ahead``, else back.

    Raises:
        UsageError: it is neither a duration nor a time.
    """
    try:
        duration_s = parse_duration(text)
    except ValueError:
        pass
    else:
        return now + duration_s if ahead else now - duration_s
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is neither a duration such as 2h nor a time such as 2031-05-01T08:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
