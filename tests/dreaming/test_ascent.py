"""The loop: scores rise, items stop on their own, nothing is left behind in the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming.ascent import Octave
from irdream.dreaming.batch import Start
from irdream.dreaming.best import DeferredRead
from irdream.dreaming.constraints import BandRange, Consistency, MaxChange, RmseBudget, SnrFloor
from irdream.dreaming.objectives import (
    Diversity,
    ForwardOutput,
    Layer,
    Logit,
    LogProbability,
    Margin,
    Objective,
    Probability,
)
from irdream.dreaming.optimizers import MarginStep, NormalizedAscent
from irdream.dreaming.parametrizations import Fourier, LogMel, Maco, StftGain, Waveform
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.dreaming.record import Answer
from irdream.dreaming.transforms import Jitter, Noise, Transform
from irdream.errors import InputError
from irdream.recognizer import Recognizer

TARGETS = torch.tensor([2, 7, 0, 2, 9])
SEEDS = [11, 12, 13, 14, 15]
VARIANTS = [
    pytest.param({}, id="log_mel"),
    pytest.param({"parametrization": Waveform(), "step_size": 3.0}, id="waveform"),
    pytest.param({"octaves": 3, "steps": 3}, id="octaves"),
    pytest.param(
        {"parametrization": Waveform(), "octaves": 2, "step_size": 3.0}, id="wave-octaves"
    ),
    pytest.param({"transform": Jitter(frames=5)}, id="jitter"),
    pytest.param({"objective": Logit()}, id="logit"),
    pytest.param({"optimizer": NormalizedAscent(norm="mean_abs")}, id="mean_abs"),
    pytest.param({"optimizer": NormalizedAscent(norm="sign")}, id="sign"),
    pytest.param({"optimizer": NormalizedAscent(momentum=0.8)}, id="momentum"),
    pytest.param({"optimizer": MarginStep(), "confidence": 0.9}, id="margin step"),
    pytest.param({"optimizer": torch.optim.Adam}, id="adam"),
    pytest.param({"parametrization": Fourier(of=LogMel())}, id="fourier"),
    pytest.param({"parametrization": StftGain()}, id="stft_gain"),
    pytest.param({"constraint": [MaxChange(db=6.0), RmseBudget(db=4.0)]}, id="constraints"),
    pytest.param({"transform": Noise(db=1.0), "start_noise": 0.5}, id="noise"),
    pytest.param({"constraint": Consistency(every=2)}, id="consistency"),
    pytest.param({"confidence": 0.2}, id="early stop"),
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_few_steps_raise_what_the_recognizer_says_of_the_target(
    used, waveform, ascent, changes
) -> None:
    """It says what is reported, and is left as it was."""
    state_before, random = state(used), torch.get_rng_state()
    dreams = ascent(**changes).run(used, waveform, TARGETS, SEEDS)

    before, after = (x.of_target(TARGETS) for x in (dreams.before, dreams.after))
    assert (after > 1.5 * before).all()
    assert state(used) == state_before
    assert torch.equal(torch.get_rng_state(), random)
    for log_mel, told in (
        (used.log_mel(waveform), dreams.before),
        (dreams.log_mel, dreams.after),
    ):
        found = Answer.to(used.eval(), log_mel, TARGETS)
        for name in ("probabilities", "scores", "windows"):
            one, other = getattr(found, name), getattr(told, name)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(told.probabilities.sum(dim=1), torch.ones(5))


def test_items_stop_at_the_confidence_and_keep_their_dream(recognizer, waveform, ascent) -> None:
    loop = ascent(confidence=0.6, steps=80)
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS)

    assert dreams.reached.any()
    reached = dreams.reached
    assert (dreams.after.of_target(TARGETS)[reached] >= 0.6).all()
    for i in torch.nonzero(reached)[:, 0]:
        curve = dreams.probability_curve[:, i]
        curve = curve[~curve.isnan()]
        assert len(curve) == dreams.steps[i] + 1
        assert (curve[:-1] < 0.6).all()


def test_an_item_that_is_there_already_is_not_changed(recognizer, waveform, ascent) -> None:
    before = ascent(steps=1).run(recognizer, waveform, TARGETS, SEEDS).before.probabilities
    targets = before.argmax(dim=1)
    dreams = ascent(confidence=0.05).run(recognizer, waveform, targets, SEEDS)

    assert (dreams.steps == 0).all()
    assert torch.equal(dreams.signal, recognizer.log_mel(waveform))


@pytest.mark.parametrize(
    "changes",
    [
        {"constraint": BandRange(least_db=-20.0, most_db=-10.0)},
        {"parametrization": Waveform(peak=0.1)},
        {"parametrization": LogMel(range_db=(-30.0, -10.0))},
        {"parametrization": Maco(of=LogMel())},
        {"start_noise": 3.0},
        {"octaves": 2, "steps": 2},
        {"objective": Layer("features.2")},
    ],
    ids=["range", "peak", "log-mel range", "phases", "noise", "octaves", "layer"],
)
def test_before_is_the_original_also_where_the_dream_starts_elsewhere(
    recognizer, waveform, ascent, changes
) -> None:
    dreams = ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS)

    heard = Answer.to(recognizer.eval(), recognizer.log_mel(waveform), TARGETS)
    torch.testing.assert_close(dreams.before.probabilities, heard.probabilities)
    heard = Answer.to(recognizer, dreams.log_mel, TARGETS)
    torch.testing.assert_close(dreams.after.probabilities, heard.probabilities)


class Watched(NormalizedAscent):
    """Remembers from which parameters it stepped, and to which."""

    def __init__(self) -> None:
        super().__init__(norm="sign")
        self.seen: list[tuple[Tensor, Tensor]] = []

    def step(self, parameters, gradient, view, state) -> Tensor:
        moved = super().step(parameters, gradient, view, state)
        self.seen.append((parameters, moved))
        return moved


@pytest.mark.parametrize("parametrization", [LogMel(), StftGain()], ids=["log_mel", "stft_gain"])
def test_parameters_do_not_run_away_behind_a_constraint(
    recognizer, waveform, ascent, parametrization
) -> None:
    """So that an item that has to turn back is not late."""
    optimizer = Watched()
    loop = ascent(
        optimizer=optimizer,
        constraint=MaxChange(db=2.0),
        step_size=1.5,
        parametrization=parametrization,
    )
    loop.run(recognizer, waveform, TARGETS, SEEDS)

    most = 2.0 * torch.log(torch.tensor(10.0)) / 20
    assert max(float(moved.abs().max()) for _, moved in optimizer.seen) > 1.2 * most
    for parameters, _ in optimizer.seen:
        assert float(parameters.abs().max()) <= most + 1e-5


def test_a_spectrogram_is_made_one_that_a_sound_has_every_few_steps(
    recognizer, waveform, ascent
) -> None:
    optimizer = Watched()
    ascent(optimizer=optimizer, constraint=Consistency(every=3)).run(
        recognizer, waveform, TARGETS, SEEDS
    )

    log_mel = recognizer.log_mel(waveform)
    start = Start(log_mel=log_mel, keys=TARGETS, sound=waveform, signal=log_mel)
    consistency = Consistency(every=3)
    prepared = consistency.prepare(recognizer, start, "spectrogram")
    for step in range(1, 6):
        before, after = optimizer.seen[step - 1][1], optimizer.seen[step][0]
        if (step + 1) % 3:
            assert torch.equal(before, after)
        else:
            found = consistency(log_mel + before, log_mel, prepared)
            torch.testing.assert_close(after, found - log_mel, atol=1e-5, rtol=0)
            assert not torch.allclose(before, after, atol=1e-3)


def test_at_a_low_confidence_the_target_has_to_be_on_top_as_well(
    recognizer, waveform, ascent
) -> None:
    before = ascent(steps=1).run(recognizer, waveform, TARGETS, SEEDS).before.probabilities
    second = before.topk(2, dim=1).indices[:, 1]
    confidence = 0.9 * float(before.gather(1, second[:, None]).min())
    dreams = ascent(confidence=confidence, steps=60).run(recognizer, waveform, second, SEEDS)

    assert (dreams.probability_curve[0] >= confidence).all()
    assert dreams.reached.all()
    assert (dreams.steps > 0).all()
    assert (dreams.after.probabilities.argmax(dim=1) == second).all()


# What is left behind ------------------------------------------------------------------------


def state(recognizer: Recognizer) -> list:
    """Return all that a run could leave behind, the weights bit for bit and in their layout."""
    weights = [
        (name, id(w), w.requires_grad, w.grad is None, w.stride(), w.flatten().tolist())
        for name, w in (*recognizer.named_parameters(), *recognizer.named_buffers())
    ]
    hooks = [
        [len(getattr(m, f"_{kind}_hooks")) for kind in ("forward", "forward_pre", "backward")]
        for m in recognizer.modules()
    ]
    modules = [(id(m), type(m), m.training, m.extra_repr()) for m in recognizer.modules()]
    return [weights, hooks, modules]


@pytest.fixture
def used(recognizer) -> Recognizer:
    """A recognizer whose modes and weights are mixed."""
    recognizer.train()
    recognizer.model.features[3].eval()
    recognizer.model.classifier.weight.requires_grad_(False)
    return recognizer


class Broken(Objective):
    """Fails where it is told to."""

    reads_output, layers = True, ("features.2",)

    def __init__(self, place: str) -> None:
        self.place = place

    def prepare(self, recognizer, listen, originals) -> dict[str, Tensor]:
        self.fail("prepare")
        return {}

    def __call__(self, heard: ForwardOutput, targets: Tensor) -> Tensor:
        self.fail("objective")
        return LogProbability()(heard, targets)

    def __repr__(self) -> str:
        return "broken"

    def fail(self, place: str) -> None:
        if place == self.place:
            raise RuntimeError(f"broken {place}")


class BrokenView(Transform):
    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        raise RuntimeError("broken transform")


class BrokenSteps(NormalizedAscent):
    def step(self, parameters, gradient, view, state) -> Tensor:
        raise RuntimeError("broken optimizer")


def raising(error: BaseException) -> Callable:
    def raise_it(told: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("changes", "more", "error"),
    [
        ({"objective": Broken("prepare")}, {}, RuntimeError("broken prepare")),
        ({"objective": Broken("objective")}, {}, RuntimeError("broken objective")),
        ({"transform": BrokenView()}, {}, RuntimeError("broken transform")),
        ({"optimizer": BrokenSteps()}, {}, RuntimeError("broken optimizer")),
        ({}, {"on_step": raising(KeyboardInterrupt("typed"))}, KeyboardInterrupt("typed")),
        ({}, {"on_octave": raising(RuntimeError("on octave"))}, RuntimeError("on octave")),
        ({"objective": Layer("no")}, {}, InputError("unknown layer 'no' of SmallNet")),
        ({"constraint": SnrFloor(db=9.0)}, {}, InputError("SnrFloor holds sound, and this")),
    ],
    ids=lambda value: str(value) if isinstance(value, BaseException) else "",
)
def test_the_model_is_left_as_it_was_after_an_exception(
    used, waveform, ascent, changes, more, error
) -> None:
    before = state(used)
    with pytest.raises(type(error), match=str(error)):
        ascent(**changes).run(used, waveform, TARGETS, SEEDS, **more)

    assert state(used) == before


# Items on their own ---------------------------------------------------------------------------


def test_identical_items_of_one_batch_get_random_numbers_of_their_own(
    recognizer, waveform, ascent
) -> None:
    same, targets = waveform[:1].expand(4, -1), torch.full((4,), 7)
    for changes in (
        {"transform": Jitter(frames=9)},
        {"transform": Noise(db=3.0)},
        {"start_noise": 1.0},
    ):
        signal = ascent(**changes).run(recognizer, same, targets, [1, 2, 3, 1]).signal
        assert torch.equal(signal[0], signal[3])
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert not torch.allclose(signal[i], signal[j])


def test_the_random_numbers_of_views_change_from_step_to_step(recognizer, waveform, ascent) -> None:
    drawn: list[tuple[int, Tensor]] = []

    class Watched(Noise):
        def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
            viewed = super().__call__(log_mel, keys, step)
            drawn.append((step, (viewed - log_mel).detach()))
            return viewed

    ascent(transform=Watched(db=1.0), octaves=2, steps=2).run(
        recognizer, waveform[:1], TARGETS[:1], SEEDS[:1]
    )
    assert [step for step, _ in drawn] == [0, 1, 2, 3, 4]
    assert len({round(float(noise[0, 3, 3]), 5) for _, noise in drawn}) == 5


def test_a_neighbor_with_a_huge_gradient_clips_nobody_elses(recognizer, waveform, ascent) -> None:
    recognizer.double()
    waveform = waveform.double()[:2]

    def weighed(weight: float, output: ForwardOutput, targets: Tensor) -> Tensor:
        return LogProbability()(output, targets) * torch.where(output.items > 0, weight, 1.0)

    for optimizer in (NormalizedAscent(), NormalizedAscent(norm="mean_abs"), torch.optim.Adam):
        dreamt = [
            ascent(optimizer=optimizer, objective=partial(weighed, weight))
            .run(recognizer, waveform, TARGETS[:2], SEEDS[:2])
            .signal[0]
            for weight in (1.0, 1e9)
        ]
        torch.testing.assert_close(*dreamt, atol=1e-9, rtol=0)


# Groups ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [[70, 70, -3, -3, 9], [0, 0, 1, 1, 1], [5, 4, 4, 4, 1]])
@pytest.mark.parametrize("slice_windows", [1, 5, 8, 1000])
def test_slices_do_not_split_groups(recognizer, waveform, ascent, groups, slice_windows) -> None:
    """A window is 1 s, so an excerpt has 4 of them."""
    seen: list[list[int]] = []

    class Watched(Diversity):
        def __call__(self, heard: ForwardOutput, targets: Tensor) -> Tensor:
            seen.append(heard.items.tolist())
            return super().__call__(heard, targets)

    recognizer.double()
    loop = ascent(
        objective=LogProbability() + 3.0 * Watched("features.2"), slice_windows=slice_windows,
        steps=3, confidence=0.15,
    )  # fmt: skip
    dreams = loop.run(recognizer, waveform.double(), TARGETS, SEEDS, groups=torch.tensor(groups))
    for items in seen:
        outside = [groups[i] for i in range(5) if i not in items]
        assert not set(outside) & {groups[i] for i in items} or len(items) < 5
    whole = ascent(
        objective=LogProbability() + 3.0 * Diversity("features.2"), steps=3, confidence=0.15
    )
    together = whole.run(recognizer, waveform.double(), TARGETS, SEEDS, groups=torch.tensor(groups))
    torch.testing.assert_close(dreams.signal, together.signal, atol=1e-9, rtol=0)


def test_a_group_stays_together_until_all_its_items_are_finished(
    recognizer, waveform, ascent
) -> None:
    seen: list[list[int]] = []

    class Watched(Diversity):
        def __call__(self, heard: ForwardOutput, targets: Tensor) -> Tensor:
            seen.append(heard.items.tolist())
            return super().__call__(heard, targets)

    loop = ascent(
        objective=LogProbability() + 0.1 * Watched("features.2"), confidence=0.2, steps=9,
        slice_windows=1000,
    )  # fmt: skip
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS, groups=torch.tensor([0, 0, 1, 1, 1]))
    ends = (~dreams.probability_curve.isnan()).sum(dim=0)
    assert len(set(ends[:2].tolist())) > 1 or len(set(ends[2:].tolist())) > 1
    for step, items in enumerate(seen):
        expected = [
            i for i in range(5)
            if step == 0 or step < (ends[:2] if i < 2 else ends[2:]).max()
        ]  # fmt: skip
        assert items == expected


def test_groups_have_to_stand_side_by_side(recognizer, waveform, ascent) -> None:
    with pytest.raises(InputError, match=r"items of one group do not stand side by side; sort"):
        ascent().run(recognizer, waveform, TARGETS, SEEDS, groups=torch.tensor([0, 1, 0, 1, 1]))


# Octaves -------------------------------------------------------------------------------------


def started(signal: Tensor) -> Any:
    return Start(log_mel=signal, keys=torch.zeros(1), signal=signal)


def test_octaves_start_on_a_coarse_grid(recognizer, waveform, ascent) -> None:
    """A dream of the coarsest octave alone is smooth: upsampled from fewer points."""
    told: list[Octave] = []
    loop = ascent(octaves=4, steps=1, octave_ratio=(1.5, 2.0))
    loop.run(recognizer, waveform, TARGETS, SEEDS, on_octave=told.append)
    assert [octave.index for octave in told] == [3, 2, 1, 0]

    plane = started(torch.zeros(1, 24, 88))
    zeros = LogMel().parameters(plane)
    assert LogMel().regrid(plane, zeros, (1.5**3, 2.0**3)).shape == (1, 7, 11)
    sound = started(torch.zeros(1, 17_600))
    assert Waveform().regrid(sound, Waveform().parameters(sound), (1.5, 2.0)).shape == (1, 8800)

    def last_change(steps: int) -> Tensor:
        """Return the change after so many octaves."""
        changes: list[Tensor] = []
        loop = ascent(octaves=4, steps=steps, octave_ratio=(1.5, 2.0))
        loop.run(
            recognizer.double(), waveform.double(), TARGETS, SEEDS,
            on_step=lambda best: changes.append(best.now.signal.clone()),
        )  # fmt: skip
        return changes[1] - recognizer.log_mel(waveform.double())

    ranks = torch.linalg.matrix_rank(last_change(1), rtol=1e-8)
    assert (ranks <= 7).all()
    assert (ranks > 1).all()


def test_after_each_octave_the_best_is_told(recognizer, waveform, ascent) -> None:
    told: list[Octave] = []
    loop = ascent(octaves=3, steps=4, step_size=3.0, confidence=0.2)
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS, on_octave=told.append)

    assert len({*dreams.steps.tolist()}) > 2
    assert [octave.index for octave in told] == [2, 1, 0][: len(told)]
    for k, octave in enumerate(told, start=1):
        curve = dreams.probability_curve[: 4 * k].nan_to_num(nan=-1)
        assert torch.equal(octave.steps, curve.argmax(dim=0))
        assert torch.equal(octave.reached, (curve >= 0.2).any(dim=0) & dreams.reached)
        assert octave.signal.shape == dreams.signal.shape
        ended = dreams.steps <= octave.steps
        assert torch.equal(octave.signal[ended], dreams.signal[ended])


# What it costs ------------------------------------------------------------------------------


class Counted(nn.Module):
    """Counts the windows of each forward pass, also of its copies."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.windows = inner, []

    def __deepcopy__(self, memo: dict) -> Counted:
        copied = Counted(copy.deepcopy(self.inner, memo))
        copied.windows = self.windows
        return copied

    def forward(self, log_mel: Tensor) -> Tensor:
        self.windows.append(len(log_mel))
        return self.inner(log_mel)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, 7),
        ({"octaves": 2, "steps": 3}, 7),
        ({"transform": Jitter(frames=3)}, 14),  # what is kept is judged without the view
        ({"objective": Layer("inner.features.2")}, 7 + 2),  # and what the network says in the end
    ],
    ids=["plain", "octaves", "jitter", "layer"],
)
def test_there_is_no_forward_pass_only_for_logging(
    recognizer, waveform, ascent, changes, passes
) -> None:
    recognizer.model = counted = Counted(recognizer.model)
    loop = ascent(slice_windows=1000, **changes)
    loop.run(recognizer, waveform, TARGETS, SEEDS)

    windows = [count for count in counted.windows if count > 1]  # less the checks at the start
    assert windows == [20] * passes
    assert len(counted.windows) - len(windows) <= 3


def test_on_step_sees_every_step_and_may_end_the_run(recognizer, waveform, ascent) -> None:
    steps: list[int] = []
    whole = ascent(steps=4, octaves=2).run(
        recognizer, waveform, TARGETS, SEEDS, on_step=lambda best: steps.append(best.step)
    )
    assert steps == [*range(8)]
    ended = ascent(steps=4, octaves=2).run(
        recognizer, waveform, TARGETS, SEEDS, on_step=lambda best: best.step == 2
    )

    assert torch.equal(ended.probability_curve, whole.probability_curve[:3])
    assert int(ended.steps.max()) <= 2


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("parametrization", [LogMel(), StftGain()], ids=["log_mel", "sound"])
def test_watched_items_are_kept_on_the_way(recognizer, waveform, ascent, parametrization) -> None:
    """What is kept after some steps is the dream of so many steps."""
    loop = ascent(parametrization=parametrization, steps=24, keep="last")
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS, watched=[3, 1])
    assert {i: list(kept) for i, kept in dreams.iterates.items()} == {
        3: [2, 4, 8, 16], 1: [2, 4, 8, 16],
    }  # fmt: skip
    short = ascent(parametrization=parametrization, steps=8, keep="last")
    eight = short.run(recognizer, waveform, TARGETS, SEEDS)
    expected = eight.log_mel if eight.waveform is None else eight.waveform
    torch.testing.assert_close(dreams.iterates[3][8], expected[3], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(dreams.iterates[1][8], expected[1], atol=1e-5, rtol=1e-4)
    assert loop.run(recognizer, waveform, TARGETS, SEEDS).iterates == {}


def infinite(heard: ForwardOutput, targets: Tensor) -> Tensor:
    return LogProbability()(heard, targets) / 0.0


def infinite_once_moved(heard: ForwardOutput, targets: Tensor) -> Tensor:
    moved = (heard.log_mel - heard.start).square().mean(dim=(1, 2)).sqrt()
    return LogProbability()(heard, targets) / (moved < 3.5 * NATURAL_PER_DB)


def test_what_is_not_finite_at_the_start_is_not_blamed_on_steps(
    recognizer, waveform, ascent
) -> None:
    expected = r"objective infinite or .* not finite at step 0; that is at the start: check what"
    with pytest.raises(InputError, match=expected):
        ascent(objective=infinite).run(recognizer, waveform, TARGETS, SEEDS)


@pytest.mark.parametrize("told_late", [False, True])
@pytest.mark.parametrize("steps", [4, 5, 6])
def test_what_is_not_finite_is_refused_also_in_the_last_step(
    recognizer, waveform, ascent, monkeypatch, steps, told_late
) -> None:
    """A CUDA device may answer later than the run ends."""
    if told_late:
        monkeypatch.setattr(DeferredRead, "read", lambda *asked: None)
    loop = ascent(objective=infinite_once_moved, step_size=1.0, steps=steps)
    expected = r"objective infinite_once_moved or .* not finite at step 4; lower dream.step_size=1"
    with pytest.raises(InputError, match=expected):
        loop.run(recognizer, waveform, TARGETS, SEEDS)
    sizes = torch.tensor([1.0, 0.5, 50.0, 0.3, 0.2])
    with pytest.raises(InputError, match=r"not finite at step 1; lower dream.step_size=50"):
        loop.run(recognizer, waveform, TARGETS, SEEDS, step_sizes=sizes)


def test_a_gradient_that_is_not_finite_is_refused(recognizer, waveform, ascent) -> None:
    def steep(heard: ForwardOutput, targets: Tensor) -> Tensor:
        return (heard.log_mel - heard.log_mel.detach()).square().sum(dim=(1, 2)).sqrt()

    with pytest.raises(
        InputError, match=r"objective steep or its gradient is not finite at step 0"
    ):
        ascent(objective=steep).run(recognizer, waveform, TARGETS, SEEDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_size": 0.0}, r"^step_size=0.0; expected a number above 0"),
        ({"steps": 0}, r"^steps=0; expected a whole number, at least 1"),
        ({"octaves": -3}, r"^octaves=-3; expected a whole number, at least 1"),
        ({"octave_ratio": [0.5, 1.4]}, r"^octave_ratio=\[0.5,1.4\]; expected a list of 2 numbers"),
        ({"octave_ratio": [1.4]}, r"^octave_ratio=\[1.4\]; expected a list of 2 numbers"),
        ({"confidence": 1.5}, r"^confidence=1.5; expected a number between 0 and 1"),
        ({"start_noise": -0.5}, r"^start_noise=-0.5; expected a number, at least 0"),
        ({"patience": 0}, r"^patience=0; expected a whole number, at least 1, or null"),
        ({"keep": "first"}, r"^keep=first; expected best or last"),
    ],
)
def test_values_out_of_range_are_refused(ascent, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        ascent(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": 3.0}, r"objective=3.0; expected an objective or a function"),
        ({"optimizer": "adam"}, r"optimizer='adam'; expected an irdream optimizer, a class of"),
        (
            {"optimizer": MarginStep(), "objective": Logit(), "confidence": 0.9},
            r"optimizer margin_step.* needs to know how far the confidence is, which objective "
            r"logit with dream.confidence=0.9 does not tell; choose objective=log_probability, ",
        ),
        (
            {"optimizer": MarginStep(), "objective": Margin()},
            r"objective margin with dream.confidence=None does not tell; .* and a confidence",
        ),
        ({"constraint": SnrFloor(db=20.0)}, r"SnrFloor holds sound, and this parametrization dre"),
    ],
)
def test_parts_that_do_not_fit_are_refused(recognizer, waveform, ascent, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS)


@pytest.mark.parametrize("objective", [LogProbability(), Probability(), Margin(), 3 * Margin()])
def test_a_margin_step_fits_objectives_that_know_their_goal(
    recognizer, waveform, ascent, objective
) -> None:
    loop = ascent(
        optimizer=MarginStep(), objective=objective, confidence=0.55, steps=20, step_size=4.0
    )
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS)
    before, after = (x.of_target(TARGETS) for x in (dreams.before, dreams.after))
    assert (after > 1.5 * before).all()
    assert dreams.reached.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parametrization": Waveform()},
            r"Waveform needs the originals' waveforms, and only log-mels",
        ),
        (
            {"parametrization": StftGain()},
            r"StftGain needs the originals' waveforms, and only log-mels",
        ),
        (
            {"constraint": Consistency(every=5)},
            r"Consistency needs the originals' waveforms, and only",
        ),
    ],
)
def test_what_needs_a_waveform_is_refused_on_log_mels(
    recognizer, waveform, ascent, changes, message
) -> None:
    log_mel = recognizer.log_mel(waveform)
    with pytest.raises(InputError, match=message):
        ascent(**changes).run(recognizer, None, TARGETS, SEEDS, log_mel=log_mel)


def test_a_dream_of_log_mels_is_that_of_their_waveforms(recognizer, waveform, ascent) -> None:
    log_mel = recognizer.log_mel(waveform)
    first = ascent().run(recognizer, None, TARGETS, SEEDS, log_mel=log_mel)
    second = ascent().run(recognizer, waveform, TARGETS, SEEDS)
    assert torch.equal(first.signal, second.signal)
    assert first.waveform is None


def test_something_to_dream_on_is_needed(recognizer, ascent) -> None:
    with pytest.raises(InputError, match=r"nothing to dream on; expected a waveform or a log-mel"):
        ascent().run(recognizer, None, TARGETS, SEEDS)


# On a GPU ------------------------------------------------------------------------------------

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.cuda
@on_cuda
def test_a_cuda_device_dreams_as_the_cpu_does(recognizer, waveform, ascent) -> None:
    loop = ascent(steps=3)
    on_cpu = loop.run(recognizer.double(), waveform.double(), TARGETS, SEEDS)
    on_cuda = loop.run(recognizer.cuda(), waveform.double().cuda(), TARGETS.cuda(), SEEDS)

    torch.testing.assert_close(on_cuda.signal.cpu(), on_cpu.signal, atol=1e-6, rtol=1e-6)
    assert torch.equal(on_cuda.steps.cpu(), on_cpu.steps)


@pytest.mark.cuda
@on_cuda
@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 0.3, "patience": 3},
        {"transform": Jitter(frames=3), "parametrization": Waveform(), "step_size": 3.0},
        {
            "octaves": 2,
            "constraint": MaxChange(db=3.0),
            "optimizer": MarginStep(),
            "confidence": 0.9,
        },
    ],
    ids=["stops", "waveform", "octaves"],
)
def test_the_host_does_not_wait_for_the_device_in_a_step(
    recognizer, waveform, ascent, changes
) -> None:
    """Between the second step of an octave and its last: nothing like `.item()`."""

    def on_step(best) -> None:
        torch.cuda.set_sync_debug_mode("error" if best.step >= 1 else "default")

    try:
        ascent(**{"steps": 8, **changes}).run(
            recognizer.cuda(), waveform.cuda(), TARGETS.cuda(), SEEDS, on_step,
            on_octave=lambda octave: torch.cuda.set_sync_debug_mode("default"),
        )  # fmt: skip
    finally:
        torch.cuda.set_sync_debug_mode("default")
