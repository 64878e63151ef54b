"""Cochran and Kim's two experiments, and a report of what holds."""

from irdream.tasks.paper.run import paper
from irdream.tasks.paper.study import Study

__all__ = ["Study", "paper"]
