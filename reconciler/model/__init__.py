"""What the program talks about: pure values, no I/O, no clock, no randomness."""
