"""irdream dreams a sound toward an instrument that a recognizer knows.

Importing the package costs nothing: torch and its friends are imported by the modules
that need them, so that the command line can answer `--help` or a typo at once.
"""

from __future__ import annotations

__version__ = "0.1.0"
