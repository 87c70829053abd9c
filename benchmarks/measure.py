"""How benchmarks measure: the best of some runs (noise only ever adds), printed as one line each."""

import compileall
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import reconciler


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


def installed_environ() -> dict[str, str]:
    """The environment for our program when it is started beside others: with its bytecode at hand.

    pip compiles what it installs. A checkout in which Python may write no bytecode would be compiled by each start.
    """
    compileall.compile_dir(Path(reconciler.__file__).parent, quiet=1)
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
