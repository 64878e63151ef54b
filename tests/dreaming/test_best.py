"""What is kept of each item, and when it is finished."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from irdream.dreaming.batch import Batch, Evaluation, Start, rows_of
from irdream.dreaming.best import PROGRESS, Answer, Best, DeferredRead, Dreams, first_step
from irdream.dreaming.objectives import Layer, LogProbability, Objective
from irdream.dreaming.optimizers import Optimizer
from irdream.dreaming.transforms import Jitter

TARGETS = torch.tensor([2, 7, 0])
SEEDS = [11, 12, 13]


def best_of(count: int, objective: Objective | None = None, **settings: Any) -> tuple[Best, Batch]:
    """Return what is kept of so many items, and a batch of them."""
    values = torch.zeros(count, 1)
    items = torch.arange(count)
    start = Start(recognizer=None, log_mel=values, keys=items, signal=values)
    batch = Batch(
        items=items, start=start, held=[], prepared={}, parameters=values, undreamed=values,
        unit=values + 1, step=values + 1, targets=items, keys=items, groups=items,
    )  # fmt: skip
    return Best(objective or LogProbability(), **settings), batch


def seen(*probabilities: float, **changes: Any) -> Evaluation:
    """Return one step of items whose signal is their probability."""
    values = torch.tensor(probabilities)
    told = {
        "signal": values[:, None],
        "logits": values[:, None, None].expand(-1, 1, 2),
        "score": torch.zeros_like(values),
        "probability": values,
        "reached": values >= 0.9,
        "on_top": (values >= 0.5).float(),
        "gradient": torch.empty(len(values), 0),
        **changes,
    }
    return Evaluation(**told)


def kept(best: Best, name: str = "signal") -> list:
    return getattr(best.of_all(), name).flatten().tolist()


def test_the_best_iterate_is_kept_also_when_it_is_not_the_last() -> None:
    best, batch = best_of(3)
    for step in ((0.1, 0.2, 0.3), (0.6, 0.1, 0.3), (0.5, 0.4, 0.2), (0.1, 0.7, 0.1)):
        best.update(batch, seen(*step))

    assert kept(best) == pytest.approx([0.6, 0.7, 0.3])
    assert kept(best, "steps") == [1, 3, 0]
    assert best.of_all().logits[:, 0, 0].tolist() == pytest.approx([0.6, 0.7, 0.3])
    assert kept(best, "reached") == [False] * 3
    assert (best.step, best.dropped) == (3, 0)


def test_finished_items_leave_and_come_back_in_order() -> None:
    best, batch = best_of(4)
    lefts = []
    for step in ((0.1, 0.95, 0.2, 0.3), (0.2, 0.1, 0.91), (0.3, 0.8)):
        best.update(batch, seen(*step))
        assert best.unfinished() == [
            int(i) for i, p in zip(batch.items, step, strict=True) if p < 0.9
        ]
        rows = best.leave(batch, seen(*step), last_octave=True)
        batch = batch if rows is None else rows_of(batch, rows)
        lefts.append((batch.items.tolist(), best.dropped, best.item_steps))

    assert lefts == [([0, 2, 3], 1, 3), ([0, 2], 2, 5), ([0, 2], 2, 7)]
    assert kept(best) == pytest.approx([0.3, 0.95, 0.8, 0.91])
    assert kept(best, "steps") == [2, 0, 2, 1]
    probability, objective, _ = best.curves()
    nan = torch.nan
    expected = torch.tensor([[0.1, 0.95, 0.2, 0.3], [0.2, nan, 0.1, 0.91], [0.3, nan, 0.8, nan]])
    torch.testing.assert_close(probability, expected, equal_nan=True)
    assert torch.equal(objective.isnan(), expected.isnan())


def test_an_item_that_has_the_confidence_is_not_recorded_any_more(monkeypatch) -> None:
    """Also while the host does not know yet that it is finished."""
    monkeypatch.setattr(DeferredRead, "read", lambda *asked: None)
    best, batch = best_of(2)
    for step in ((0.1, 0.2), (0.95, 0.3), (0.99, 0.1)):
        best.update(batch, seen(*step))
        assert best.leave(batch, seen(*step), last_octave=True) is None

    assert best.now.alive.tolist() == [False, True]
    assert kept(best) == pytest.approx([0.95, 0.3])
    assert kept(best, "reached") == [True, False]
    expected = torch.tensor([[0.1, 0.2], [0.95, 0.3], [torch.nan, 0.1]])
    torch.testing.assert_close(best.curves()[0], expected, equal_nan=True)


def test_where_nothing_reads_the_output_the_objective_says_what_is_best() -> None:
    best, batch = best_of(1, Layer("features"))
    for value in (1.0, 5.0, 3.0):
        of_layer = {"signal": torch.tensor([[value]]), "score": torch.tensor([value])}
        best.update(batch, seen(torch.nan, logits=torch.empty(1, 0, 0), **of_layer))

    assert kept(best) == [5.0]
    probability, objective, _ = best.curves()
    assert probability.isnan().all()
    assert objective[:, 0].tolist() == [1.0, 5.0, 3.0]


def test_where_it_is_refined_the_least_change_that_has_the_confidence_is_kept() -> None:
    best, batch = best_of(2, refines=True)
    steps = [  # probability and change: the second item never has the confidence
        ((0.5, 0.3), (1.0, 1.0)),
        ((0.91, 0.6), (9.0, 2.0)),
        ((0.93, 0.4), (3.0, 0.5)),
        ((0.99, 0.5), (7.0, 0.1)),
        ((0.2, 0.2), (0.5, 0.0)),
    ]
    for probabilities, changes in steps:
        batch = replace(batch, parameters=torch.tensor(changes)[:, None])
        best.update(batch, seen(*probabilities))

    assert kept(best) == pytest.approx([0.93, 0.6])
    assert kept(best, "steps") == [2, 1]
    assert kept(best, "reached") == [True, False]
    assert best.now.alive.all()


def test_patience_counts_the_steps_without_progress_in_the_last_octave_alone() -> None:
    best, batch = best_of(2, patience=2)
    for step in ((0.5, 0.1), (0.4, 0.2), (0.3, 0.1), (0.2, 0.1)):
        best.update(batch, seen(*step))
        assert best.leave(batch, seen(*step), last_octave=False) is None
    left = []
    for step in ((0.4, 0.3), (0.4, 0.2), (0.4, 0.4), (0.4, 0.1), (0.4, 0.1)):
        now = seen(*step[2 - len(batch.items) :])
        best.update(batch, now)
        rows = best.leave(batch, now, last_octave=True)
        batch = batch if rows is None else rows_of(batch, rows)
        left.append(batch.items.tolist())
    assert left == [[0, 1], [1], [1], [1], []]
    assert kept(best) == pytest.approx([0.5, 0.4])


def test_progress_that_is_hardly_any_does_not_count_but_is_kept() -> None:
    best, batch = best_of(1, patience=3)
    steps = [0.5 * (1 + 0.3 * PROGRESS * i) for i in range(4)]
    lefts = []
    for value in steps:
        best.update(batch, seen(value))
        lefts.append(best.leave(batch, seen(value), last_octave=True))

    assert lefts[:3] == [None] * 3
    assert len(lefts[3]) == 0
    assert kept(best) == pytest.approx(steps[-1:])
    assert kept(best, "steps") == [3]


def test_an_answer_sums_up_windows() -> None:
    probabilities = torch.tensor([[[0.1, 0.9], [0.5, 0.5]], [[0.2, 0.8], [0.4, 0.6]]])

    class Network:
        def log_probabilities(self, logits: Tensor) -> Tensor:
            return logits.log()

        def scores(self, logits: Tensor) -> Tensor:
            return 2.0 * logits

        def window_logits(self, log_mel: Tensor) -> Tensor:
            return log_mel

    targets = torch.tensor([1, 0])
    answer = Answer.of_log_mel(Network(), probabilities, targets)  # type: ignore[arg-type]
    torch.testing.assert_close(answer.probabilities, torch.tensor([[0.3, 0.7], [0.3, 0.7]]))
    torch.testing.assert_close(answer.scores, torch.tensor([[0.6, 1.4], [0.6, 1.4]]))
    torch.testing.assert_close(answer.windows, torch.tensor([[0.9, 0.5], [0.2, 0.4]]))
    torch.testing.assert_close(answer.of_target(targets), torch.tensor([0.7, 0.3]))
    assert answer.top().tolist() == [1, 1]
    for given, expected in ((), [True, False]), ((0.6,), [True, False]), ((0.8,), [False] * 2):
        assert answer.on_top(targets, *given).tolist() == expected
    assert answer.on_top(torch.tensor([1, 1]), 0.1).tolist() == [True, True]
    assert answer.on_top(targets, 0.1).tolist() == [True, False]  # it has to be on top
    one = answer.one(1)
    assert one.probabilities.tolist() == [pytest.approx([0.3, 0.7])]
    assert one.windows.tolist() == [pytest.approx([0.2, 0.4])]


# In the loop ----------------------------------------------------------------------------------


class There(Optimizer):
    """Goes up, then far down, so that the best iterate lies in between."""

    def start(self, parameters: Tensor) -> dict:
        return {"step": torch.zeros(len(parameters))}

    def step(self, batch, seen, state) -> Tensor:
        state["step"] += 1
        way = torch.where(state["step"] <= 3, 1.0, -9.0).to(seen.gradient).view(-1, 1, 1)
        return batch.parameters + way * batch.step * seen.gradient.sign()


def run(tiny, sounds, loop, **more) -> Dreams:
    return loop.run(tiny(), sounds(3, 1000), TARGETS, SEEDS, **more)


def test_the_last_iterate_is_returned_where_it_is_asked_for(tiny, sounds, ascent) -> None:
    settings = {"optimizer": There(), "steps": 6, "confidence": None}
    last = run(tiny, sounds, ascent(**settings, keep="last"))

    assert (last.steps == 6).all()
    heard = Answer.of_log_mel(tiny().eval(), last.log_mel, TARGETS).of_target(TARGETS)
    torch.testing.assert_close(heard, last.probability_curve[-1].double(), atol=1e-6, rtol=0)
    assert (run(tiny, sounds, ascent(**settings)).steps == 3).all()


def test_a_finished_item_costs_nothing_and_its_dream_is_the_same(
    tiny, sounds, ascent, monkeypatch
) -> None:
    loop = ascent(confidence=0.3, steps=12, transform=Jitter(frames=3))
    dropped = run(tiny, sounds, loop)
    monkeypatch.setattr(DeferredRead, "read", lambda *asked: None)  # so that nobody leaves
    computed_on = run(tiny, sounds, loop)

    assert dropped.reached.any()
    assert len(set(dropped.steps.tolist())) > 1
    torch.testing.assert_close(dropped.signal, computed_on.signal, atol=1e-9, rtol=0)
    for name in ("probability_curve", "objective_curve"):
        one, other = getattr(dropped, name), getattr(computed_on, name)
        other = other[: len(one)]
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0, equal_nan=True)
    for name in ("steps", "reached"):
        assert torch.equal(getattr(dropped, name), getattr(computed_on, name))
    assert dropped.item_steps == int((~dropped.probability_curve.isnan()).sum()) - 3
    assert computed_on.item_steps == 3 * 12


def test_the_first_step_of_a_level() -> None:
    nan = torch.nan
    curve = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.2, 0.1], [0.4, nan, 0.3]])
    expected = torch.tensor([1.0, 0.0, nan])
    torch.testing.assert_close(first_step(curve, 0.5), expected, equal_nan=True)


def test_the_flip_is_where_the_target_comes_on_top(tiny, sounds, ascent) -> None:
    settings = {"confidence": None, "step_size": 0.5}
    dreams = run(tiny, sounds, ascent(**settings, steps=30))
    flips = {i: int(n) for i, n in enumerate(dreams.flip_steps.nan_to_num(-1)) if n > 1}

    assert flips
    for item, step in flips.items():
        for steps, on_top in ((step - 1, False), (step, True)):
            heard = run(tiny, sounds, ascent(**settings, steps=steps)).after.probabilities[item]
            assert bool(heard.argmax() == TARGETS[item]) == on_top


@pytest.mark.parametrize(
    "objective", [Layer("features.3"), Layer("features.0") - 0.5 * Layer("features.6")]
)
def test_without_an_output_there_is_no_probability_and_no_confidence(
    tiny, sounds, ascent, objective: Objective
) -> None:
    loop = ascent(objective=objective, confidence=0.001, optimizer=There(), steps=6)
    dreams = run(tiny, sounds, loop)

    assert dreams.probability_curve.shape == (7, 3)
    assert dreams.probability_curve.isnan().all()
    assert not dreams.objective_curve.isnan().any()
    assert not dreams.reached.any()
    assert torch.equal(dreams.steps, dreams.objective_curve.argmax(dim=0))
    assert (dreams.steps > 0).all()
    expected = Answer.of_log_mel(tiny().eval(), dreams.log_mel, TARGETS)
    torch.testing.assert_close(dreams.after.probabilities, expected.probabilities)
