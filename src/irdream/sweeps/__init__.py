"""A multirun: its parent run, its jobs, its overview and gallery."""
