"""A declarative, GitOps-style reconciler and container scheduler on plain Consul.

Three loops of one shape (observe, plan, apply) that meet only in the store: ``sync`` keeps ``config/*`` equal to a
folder or git repository of manifests, ``scheduler`` issues tasks under ``state/*``, ``agent`` makes them run.
"""

__version__ = "0.1.0"
