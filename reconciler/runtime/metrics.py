"""The metrics of every loop, in Prometheus' terms. What is special to one loop is declared by that loop."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

PASSES = Counter("reconciler_passes_total", "Passes of a loop", ["loop", "result"])
PASS_SECONDS = Histogram(
    "reconciler_pass_seconds",
    "How long a pass of a loop took",
    ["loop"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
)
LAST_SUCCESS = Gauge("reconciler_last_success_timestamp_seconds", "When a pass last succeeded", ["loop"])


def pass_done(loop: str, seconds: float, *, failed: bool) -> None:
    """Count a pass of a loop."""
    _passes(loop, "failed" if failed else "done").inc()
    _pass_seconds(loop).observe(seconds)
    if not failed:
        _last_success(loop).set_to_current_time()


# looked up once: that costs more than to count
@cache
def _passes(loop: str, result: str) -> Counter:
    return PASSES.labels(loop, result)


@cache
def _pass_seconds(loop: str) -> Histogram:
    return PASS_SECONDS.labels(loop)


@cache
def _last_success(loop: str) -> Gauge:
    return LAST_SUCCESS.labels(loop)
