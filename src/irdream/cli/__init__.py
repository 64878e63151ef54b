"""The command line: the keys with their types, and mistakes in one line."""

from irdream.errors import need

need("omegaconf")
