"""What an operator changes by hand, a file a verb."""
