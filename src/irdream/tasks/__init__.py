"""Tasks: what `task=...` runs; each one a keyword-only function that reads from top to bottom."""
