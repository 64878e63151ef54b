"""What a task would do and about how long it would take, without doing it.

Nothing is kept: what has to be tried to know its time is tried on little, in a temporary folder,
and leaves networks, data sets, caches and random numbers as they were. It takes a few seconds
beyond loading. What a task would refuse is refused here with the same words.
"""

from irdream.tasks.info.plans import plan
from irdream.tasks.info.words import Plan, duration

__all__ = ["Plan", "duration", "plan"]
