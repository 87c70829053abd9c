"""How loops run: clocks, waiting, logs, metrics, HTTP. Knows nothing of clusters and tasks."""
