"""Tells others what became of revisions: commit statuses at git servers, and webhooks. Called by sync."""
