"""The one place where the loops meet: a small strongly consistent key-value store with locks, behind one URL."""
