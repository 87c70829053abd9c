"""How benchmarks measure: the best of some runs (noise only ever adds), printed as one line each."""

import statistics
import time
from collections.abc import Callable


def measure(what: str, run: Callable[[], object], *, count: int = 1, unit: str = "", runs: int = 5) -> float:
    """Time ``run``; prints its best and median, and how many ``unit`` a second when it does ``count`` of them."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    best = min(taken)
    rate = f"{count / best:12,.0f} {unit}/s" if unit else ""
    print(f"  {what:<58} {best * 1000:10.1f} ms  (median {statistics.median(taken) * 1000:10.1f}){rate}")
    return best
