"""Manifests that each break one rule; see the test beside them."""
