"""What `task=doctor` would look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irdream.tasks.info.words import Plan, line


def plan_doctor(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.doctor.doctor` with these arguments; no store is opened."""
    where = given["server"] or Path(given["store"]).absolute()
    lines = (
        line("doctor", f"looks at the runs marked RUNNING in {where}"),
        line("", "and closes as KILLED those of this machine whose process is gone"),
        line("writes", "nothing else"),
    )
    return Plan(lines, None)
