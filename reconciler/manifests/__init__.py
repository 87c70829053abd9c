"""Manifests as people write them: found, read with their line numbers, checked, and turned into objects."""
