"""Scenarios: texts that an operator can read, replayed on the scheduler's pure plan."""
