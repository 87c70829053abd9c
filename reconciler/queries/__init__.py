"""Read-only questions about the whole system, a file a question."""
