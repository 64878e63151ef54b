"""Keeping runs comparable: the tracker protocol, its MLflow and null versions.

A task talks to a `Tracker`; which one is main's business. `MlflowTracker` writes to an SQLite
file beside its artifacts, or to a server. Only `store` imports mlflow, and only when a store is
opened: `import irdream.tracking` costs 0.1 s, the first `MlflowTracker` of a process about 2 s,
nearly all of it the import, and 2 s more where the store must be made first.

Weights & Biases, Aim and plain TensorBoard were weighed: the first needs an account, the other
two keep no registry of checkpoints.
"""

from irdream.tracking.base import NullTracker, Status, Tracker, flat
from irdream.tracking.checkpoints import fetch_checkpoint, register_checkpoint
from irdream.tracking.provenance import run_tags
from irdream.tracking.runs import MlflowTracker
from irdream.tracking.store import create_store
from irdream.tracking.sweeps import close_sweep, open_sweep
from irdream.tracking.view import share_view

__all__ = [
    "MlflowTracker",
    "NullTracker",
    "Status",
    "Tracker",
    "close_sweep",
    "create_store",
    "fetch_checkpoint",
    "flat",
    "open_sweep",
    "register_checkpoint",
    "run_tags",
    "share_view",
]
