"""One suite that every executor passes: what ``reconciler/executors/interface.py`` promises."""
