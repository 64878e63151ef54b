"""Which plan belongs to which task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from irdream.tasks.doctor import doctor
from irdream.tasks.dream import dream
from irdream.tasks.evaluate import evaluate
from irdream.tasks.info.doctor import plan_doctor
from irdream.tasks.info.dream import plan_dream
from irdream.tasks.info.evaluate import plan_evaluate
from irdream.tasks.info.paper import plan_paper
from irdream.tasks.info.prepare import plan_prepare
from irdream.tasks.info.train import plan_train
from irdream.tasks.info.words import Plan, arguments, own_task
from irdream.tasks.paper import paper
from irdream.tasks.prepare import prepare
from irdream.tasks.train import train

_PLANS: dict[Callable[..., Any], Callable[[Mapping[str, Any]], Plan]] = {
    dream: plan_dream,
    train: plan_train,
    evaluate: plan_evaluate,
    prepare: plan_prepare,
    paper: plan_paper,
    doctor: plan_doctor,
}


def plan(task: functools.partial[Any]) -> Plan:
    """Return what a task would do.

    Args:
        task: with all its arguments but `tracker`, `output_dir` and `stopwatch`.

    Raises:
        InputError: as the task.
    """
    make = _PLANS.get(task.func)
    return own_task(task) if make is None else make(arguments(task))
