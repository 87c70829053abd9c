"""Growing delays with jitter, so that what failed is tried again neither in step with others nor for ever quickly."""

import random

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential delays: ``first_s``, doubled up to ``most_s``, each shortened at random by up to ``jitter``."""

    first_s: float = 0.5
    most_s: float = 30.0
    jitter: float = 0.3

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """How long to wait after ``failures`` failures in a row (1 or more)."""
        full = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return full * (1.0 - self.jitter * rng.random())
