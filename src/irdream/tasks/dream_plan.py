"""What a dream run is to do: items that each go from an excerpt toward a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from irdream.datasets.base import counted
from irdream.datasets.starts import Listed, Start
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.constraints import Constraint, RmseBudget
from irdream.dreaming.objectives import as_objective
from irdream.dreaming.targets import Item, parse_targets, plan
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class DreamPlan:
    """What every excerpt is dreamed toward, and with which settings.

    Attributes:
        ascent: how to dream; with the step size, where there is but one.
        targets: as they were asked for; [""] where the objective has no target.
        step_sizes, budgets_db: of the items; None: the ascent's, and none.
        variations: of each dream.
        seed: of random targets.
    """

    ascent: Ascent
    targets: Sequence[str]
    step_sizes: Sequence[float | None]
    budgets_db: Sequence[float | None]
    variations: int
    seed: int

    @property
    def varied(self) -> list[str]:
        """Return the settings that are lists, by their columns in dreams.csv."""
        counts = {
            "step_size": len(self.step_sizes),
            "budget_db": len(self.budgets_db),
            "variation": self.variations,
        }
        return [name for name, count in counts.items() if count > 1]

    def items(self, excerpts: Listed) -> list[Item]:
        """Return the dreams of excerpts, given by names and labels; errors as `targets.plan`."""
        return plan(
            self.targets,
            [name for name, _ in excerpts],
            [labels for _, labels in excerpts],
            seed=self.seed,
            step_sizes=self.step_sizes,
            budgets_db=self.budgets_db,
            variations=self.variations,
        )

    def line(self, start: Start, recognizer: Recognizer) -> str:
        """Return the line that says what will be dreamed.

        Raises:
            InputError: what can be known to be wrong before a data set is decoded.
        """
        found = listed_by(start, recognizer)
        what = f"the excerpts of {getattr(start, 'name', 'the start')}"
        dreams = ""
        if found is not None:
            what, items = counted(len(found), "excerpt"), self.items(found)
            dreams = f": {len(items)} dreams" if len(items) != len(found) else ""
        lists = ("step size", self.step_sizes), ("budget", self.budgets_db)
        several = [counted(len(values), name) for name, values in lists if len(values) > 1]
        several += [counted(self.variations, "variation")] if self.variations > 1 else []
        steps = counted(self.ascent.steps, "step")
        toward = [f"toward {', '.join(self.targets)}"]
        stops = self.ascent.confidence is not None
        if not has_target(self.ascent):
            toward, stops = [f"by {self.ascent.objective!r}"], False
        may_stop = stops or self.ascent.patience is not None
        return (
            f"dream: {what} {', '.join([*toward, *several])}{dreams}, "
            f"{'at most ' if may_stop else ''}{steps} x {counted(self.ascent.octaves, 'octave')}, "
            f"on {recognizer.device}"
        )


def listed_by(start: Start, recognizer: Recognizer) -> Listed | None:
    """Return names and labels of what a start has; None for one of a user's that has no list."""
    listed = getattr(start, "listed", None)
    if listed is None:
        return None
    return listed(sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds)


def plan_dreams(
    target: str | Sequence[str],
    ascent: Ascent,
    *,
    step_size: float | Sequence[float] | None,
    budget_db: float | Sequence[float] | None,
    variations: int,
    seed: int,
) -> DreamPlan:
    """Return what is to be dreamed; arguments and errors as of `irdream.tasks.dream.dream`."""
    targets = parse_targets(target) if has_target(ascent) else [""]
    step_sizes, budgets_db = _several(step_size), _several(budget_db)
    if len(step_sizes) == 1 and step_sizes[0] is not None:  # then files are not named by it
        ascent, step_sizes = replace(ascent, step_size=step_sizes[0]), [None]
    if budget_db is not None and any(isinstance(one, RmseBudget) for one in _held(ascent)):
        raise InputError(
            "dream.budget_db and constraint=rmse_budget are both given; expected one of them"
        )
    return DreamPlan(
        ascent=ascent,
        targets=targets,
        step_sizes=step_sizes,
        budgets_db=budgets_db,
        variations=variations,
        seed=seed,
    )


def has_target(ascent: Ascent) -> bool:
    """Say whether the objective is about a target: whether it reads what the network says."""
    return as_objective(ascent.objective).reads_output


def with_budgets(ascent: Ascent, items: Sequence[Item]) -> Ascent:
    """Return an ascent whose items have budgets of their own, where they have any."""
    budgets = [item.budget_db for item in items if item.budget_db is not None]
    if not budgets:
        return ascent
    return replace(ascent, constraint=[*_held(ascent), RmseBudget(db=budgets)])


def _held(ascent: Ascent) -> list[Constraint]:
    given = ascent.constraint or ()
    return [given] if isinstance(given, Constraint) else list(given)


def _several(value: float | Sequence[float] | None) -> list[float | None]:
    """Return a number or several of them as a list; [None] for None."""
    values = [value] if value is None or isinstance(value, int | float) else value
    return list(dict.fromkeys(None if one is None else float(one) for one in values))
