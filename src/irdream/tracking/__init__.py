"""Keeping runs comparable, in MLflow or not at all.

A task talks to a `Tracker`; which one is main's business. mlflow is imported when a store is
opened: `import irdream.tracking` costs 0.1 s, the first `MlflowTracker` of a process about 2 s.
"""

from irdream.tracking.mlflow_setup import create_store
from irdream.tracking.store import fetch_checkpoint
from irdream.tracking.tracker import MlflowTracker, NullTracker, Tracker, flat

__all__ = [
    "MlflowTracker",
    "NullTracker",
    "Tracker",
    "create_store",
    "fetch_checkpoint",
    "flat",
]
