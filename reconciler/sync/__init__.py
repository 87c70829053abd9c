"""The first loop: keeps ``config/*`` equal to a source of manifests (a git repository or a folder)."""
