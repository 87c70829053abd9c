"""The second loop: turns ``config/*`` into issued tasks under ``state/tasks/*``."""
