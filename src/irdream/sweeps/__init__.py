"""A multirun: its parent run, its jobs, its overview and gallery."""

from irdream.errors import need

need("omegaconf")
