"""The metrics of every loop, in Prometheus' terms. What is special to one loop is declared by that loop."""

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
    PASSES.labels(loop, "failed" if failed else "done").inc()
    PASS_SECONDS.labels(loop).observe(seconds)
    if not failed:
        LAST_SUCCESS.labels(loop).set_to_current_time()
