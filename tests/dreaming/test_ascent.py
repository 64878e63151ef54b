"""The loop: scores rise, items stop on their own, nothing is left behind in the model."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.ascent import Octave, with_strength
from irdream.dreaming.batch import Start
from irdream.dreaming.best import Answer, DeferredRead, Dreams
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
from irdream.dreaming.transforms import Jitter, Noise, Transform
from irdream.errors import InputError
from irdream.recognizer import Recognizer

TARGETS = torch.tensor([2, 7, 0, 2, 9])
SEEDS = [11, 12, 13, 14, 15]
VARIANTS = {
    "log_mel": {},
    "waveform": {"parametrization": Waveform(), "step_size": 3.0},
    "octaves": {"octaves": 3, "steps": 3},
    "wave-octaves": {"parametrization": Waveform(), "octaves": 2, "step_size": 3.0},
    "jitter": {"transform": Jitter(frames=5)},
    "logit": {"objective": Logit()},
    "mean_abs": {"optimizer": NormalizedAscent(norm="mean_abs")},
    "sign": {"optimizer": NormalizedAscent(norm="sign")},
    "momentum": {"optimizer": NormalizedAscent(momentum=0.8)},
    "margin step": {"optimizer": MarginStep(), "confidence": 0.9},
    "adam": {"optimizer": torch.optim.Adam},
    "fourier": {"parametrization": Fourier(of=LogMel())},
    "stft_gain": {"parametrization": StftGain()},
    "constraints": {"constraint": [MaxChange(db=6.0), RmseBudget(db=4.0)]},
    "noise": {"transform": Noise(db=1.0), "start_noise": 0.5},
    "consistency": {"constraint": Consistency(every=2)},
    "early stop": {"confidence": 0.2},
}


@pytest.fixture
def run(recognizer, waveform, ascent) -> Callable[..., Dreams]:
    """Dream the five items; `more` are arguments of `Ascent.run`."""

    def run(more: dict[str, Any] | None = None, **changes: Any) -> Dreams:
        return ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS, **(more or {}))

    return run


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
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
    reported = (used.log_mel(waveform), dreams.before), (dreams.log_mel, dreams.after)
    for log_mel, told in reported:
        found = Answer.of_log_mel(used.eval(), log_mel, TARGETS)
        for name in ("probabilities", "scores", "windows"):
            one, other = getattr(found, name), getattr(told, name)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(told.probabilities.sum(dim=1), torch.ones(5))


def test_items_stop_at_the_confidence_and_keep_their_dream(run) -> None:
    dreams = run(confidence=0.6, steps=80)
    reached = dreams.reached
    assert reached.any()
    assert (dreams.after.of_target(TARGETS)[reached] >= 0.6).all()
    for i in torch.nonzero(reached)[:, 0]:
        curve = dreams.probability_curve[:, i]
        curve = curve[~curve.isnan()]
        assert len(curve) == dreams.steps[i] + 1
        assert (curve[:-1] < 0.6).all()


def test_an_item_that_is_there_already_is_not_changed(run, recognizer, waveform, ascent) -> None:
    targets = run(steps=1).before.probabilities.argmax(dim=1)
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
    run, recognizer, waveform, changes
) -> None:
    dreams = run(**changes)
    pairs = (recognizer.log_mel(waveform), dreams.before), (dreams.log_mel, dreams.after)
    for log_mel, told in pairs:
        found = Answer.of_log_mel(recognizer.eval(), log_mel, TARGETS)
        torch.testing.assert_close(told.probabilities, found.probabilities)


class Watched(NormalizedAscent):
    """Remembers from which parameters it stepped, and to which."""

    def __init__(self) -> None:
        super().__init__(norm="sign")
        self.seen: list[tuple[Tensor, Tensor]] = []

    def step(self, batch, seen, state) -> Tensor:
        moved = super().step(batch, seen, state)
        self.seen.append((batch.parameters, moved))
        return moved


@pytest.mark.parametrize("parametrization", [LogMel(), StftGain()], ids=["log_mel", "stft_gain"])
def test_parameters_do_not_run_away_behind_a_constraint(run, parametrization) -> None:
    """So that an item that has to turn back is not late."""
    settings = {"constraint": MaxChange(db=2.0), "step_size": 1.5}
    run(optimizer=(optimizer := Watched()), parametrization=parametrization, **settings)

    most = 2.0 * NATURAL_PER_DB
    assert max(float(moved.abs().max()) for _, moved in optimizer.seen) > 1.2 * most
    for parameters, _ in optimizer.seen:
        assert float(parameters.abs().max()) <= most + 1e-5


def test_a_spectrogram_is_made_one_that_a_sound_has_every_few_steps(
    run, recognizer, waveform
) -> None:
    consistency, log_mel = Consistency(every=3), recognizer.log_mel(waveform)
    run(optimizer=(optimizer := Watched()), constraint=consistency)

    originals = {"log_mel": log_mel, "keys": TARGETS, "sound": waveform}
    start = Start(recognizer=recognizer, **originals, signal=log_mel)
    prepared = consistency.prepare(start, "spectrogram")
    for step in range(1, 6):
        before, after = optimizer.seen[step - 1][1], optimizer.seen[step][0]
        if (step + 1) % 3:
            assert torch.equal(before, after)
        else:
            found = consistency(log_mel + before, log_mel, prepared)
            torch.testing.assert_close(after, found - log_mel, atol=1e-5, rtol=0)
            assert not torch.allclose(before, after, atol=1e-3)


def test_at_a_low_confidence_the_target_has_to_be_on_top_as_well(
    run, recognizer, waveform, ascent
) -> None:
    before = run(steps=1).before.probabilities
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


def failing(place: str) -> Callable:
    def fail(*given: object) -> Any:
        raise RuntimeError(f"broken {place}")

    return fail


class Broken(Objective):
    """Fails where it is told to, with its layer read."""

    reads_output, layers = True, ("features.2",)

    def __init__(self, place: str) -> None:
        self.place = place

    def prepare(self, read_layers, originals) -> dict[str, Tensor]:
        return failing("prepare")() if self.place == "prepare" else {}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return failing("objective")()

    def __repr__(self) -> str:
        return "broken"


class BrokenView(Transform):
    __call__ = failing("transform")


class BrokenSteps(NormalizedAscent):
    step = failing("optimizer")


def interrupted(best: object) -> None:
    raise KeyboardInterrupt("typed")


@pytest.mark.parametrize(
    ("changes", "more", "error"),
    [
        ({"objective": Broken("prepare")}, {}, RuntimeError("broken prepare")),
        ({"objective": Broken("objective")}, {}, RuntimeError("broken objective")),
        ({"transform": BrokenView()}, {}, RuntimeError("broken transform")),
        ({"optimizer": BrokenSteps()}, {}, RuntimeError("broken optimizer")),
        ({}, {"on_step": interrupted}, KeyboardInterrupt("typed")),
        ({}, {"on_octave": failing("on octave")}, RuntimeError("broken on octave")),
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


@pytest.mark.parametrize(
    "changes", [{"transform": Jitter(frames=9)}, {"transform": Noise(db=3.0)}, {"start_noise": 1.0}]
)
def test_identical_items_of_one_batch_get_random_numbers_of_their_own(
    recognizer, waveform, ascent, changes
) -> None:
    same, targets = waveform[:1].expand(4, -1), torch.full((4,), 7)
    signal = ascent(**changes).run(recognizer, same, targets, [1, 2, 3, 1]).signal
    assert torch.equal(signal[0], signal[3])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(signal[i], signal[j])


def test_the_random_numbers_of_views_change_from_step_to_step(run) -> None:
    drawn: list[tuple[int, Tensor]] = []

    class Kept(Noise):
        def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
            viewed = super().__call__(log_mel, keys, step)
            drawn.append((step, (viewed - log_mel).detach()))
            return viewed

    run(transform=Kept(db=1.0), octaves=2, steps=2, slice_windows=1000)
    assert [step for step, _ in drawn] == [0, 1, 2, 3, 4]
    assert len({round(float(noise[0, 3, 3]), 5) for _, noise in drawn}) == 5


@pytest.mark.parametrize(
    "optimizer", [NormalizedAscent(), NormalizedAscent(norm="mean_abs"), torch.optim.Adam]
)
def test_a_neighbor_with_a_huge_gradient_clips_nobody_elses(
    recognizer, waveform, ascent, optimizer
) -> None:
    def weighed(weight: float, output: ForwardOutput, targets: Tensor) -> Tensor:
        return LogProbability()(output, targets) * torch.where(output.items > 0, weight, 1.0)

    dreamt = [
        ascent(optimizer=optimizer, objective=partial(weighed, weight))
        .run(recognizer.double(), waveform.double()[:2], TARGETS[:2], SEEDS[:2]).signal[0]
        for weight in (1.0, 1e9)
    ]  # fmt: skip
    torch.testing.assert_close(*dreamt, atol=1e-9, rtol=0)


# Groups ------------------------------------------------------------------------------------------


class Grouped(Diversity):
    """Remembers the items that were compared."""

    def __init__(self) -> None:
        super().__init__("features.2")
        self.seen: list[list[int]] = []

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        self.seen.append(output.items.tolist())
        return super().__call__(output, targets)


@pytest.mark.parametrize("groups", [[70, 70, -3, -3, 9], [0, 0, 1, 1, 1], [5, 4, 4, 4, 1]])
@pytest.mark.parametrize("slice_windows", [1, 5, 8, 1000])
def test_slices_do_not_split_groups(recognizer, waveform, ascent, groups, slice_windows) -> None:
    """A window is 1 s, so an excerpt has 4 of them."""
    grouped, dreamt = Grouped(), []
    for one, windows in ((grouped, slice_windows), (Diversity("features.2"), None)):
        loop = ascent(
            objective=LogProbability() + 3.0 * one, slice_windows=windows, steps=3, confidence=0.15
        )
        dreamt.append(
            loop.run(recognizer.double(), waveform.double(), TARGETS, SEEDS,
                     groups=torch.tensor(groups)).signal
        )  # fmt: skip
    for items in grouped.seen:
        outside = [groups[i] for i in range(5) if i not in items]
        assert not set(outside) & {groups[i] for i in items} or len(items) < 5
    torch.testing.assert_close(*dreamt, atol=1e-9, rtol=0)


def test_a_group_stays_together_until_all_its_items_are_finished(run) -> None:
    grouped, groups = Grouped(), torch.tensor([0, 0, 1, 1, 1])
    objective = LogProbability() + 0.1 * grouped
    dreams = run(
        {"groups": groups}, objective=objective, confidence=0.2, steps=9, slice_windows=1000
    )
    ends = (~dreams.probability_curve.isnan()).sum(dim=0)
    assert len(set(ends[:2].tolist())) > 1 or len(set(ends[2:].tolist())) > 1
    last = [int((ends[:2] if i < 2 else ends[2:]).max()) for i in range(5)]
    for step, items in enumerate(grouped.seen):
        assert items == [i for i in range(5) if step == 0 or step < last[i]]


def test_groups_have_to_stand_side_by_side(run) -> None:
    with pytest.raises(InputError, match=r"items of one group do not stand side by side; sort"):
        run({"groups": torch.tensor([0, 1, 0, 1, 1])})


# Octaves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parametrization", "shape", "coarser", "expected"),
    [(LogMel(), (24, 88), (1.5**3, 2.0**3), (7, 11)), (Waveform(), (17_600,), (1.5, 2.0), (8800,))],
    ids=["log_mel", "waveform"],
)
def test_octaves_are_coarser_grids(parametrization, shape, coarser, expected) -> None:
    signal = torch.zeros(1, *shape)
    start = Start(recognizer=None, log_mel=signal, keys=torch.zeros(1), signal=signal)
    found = parametrization.regrid(start, parametrization.parameters(start), coarser)
    assert found.shape == (1, *expected)


def test_octaves_start_on_a_coarse_grid(recognizer, waveform, ascent) -> None:
    """A dream of the coarsest octave alone is smooth: upsampled from fewer points."""
    recognizer, waveform = recognizer.double(), waveform.double()
    told: list[Octave] = []
    signals: list[Tensor] = []
    ascent(octaves=4, steps=1, octave_ratio=(1.5, 2.0)).run(
        recognizer, waveform, TARGETS, SEEDS, on_octave=told.append,
        on_step=lambda best: signals.append(best.now.signal.clone()),
    )  # fmt: skip
    assert [octave.index for octave in told] == [3, 2, 1, 0]
    ranks = torch.linalg.matrix_rank(signals[1] - recognizer.log_mel(waveform), rtol=1e-8)
    assert (ranks <= 7).all()
    assert (ranks > 1).all()


def test_after_each_octave_the_best_is_told(run) -> None:
    told: list[Octave] = []
    settings = {"octaves": 3, "steps": 4, "step_size": 3.0, "confidence": 0.2}
    dreams = run({"on_octave": told.append}, **settings)

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

    def __deepcopy__(self, memo: dict) -> "Counted":
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
def test_there_is_no_forward_pass_only_for_logging(run, recognizer, changes, passes) -> None:
    recognizer.model = counted = Counted(recognizer.model)
    run(slice_windows=1000, **changes)
    windows = [count for count in counted.windows if count > 2]  # less the checks at the start
    assert windows == [20] * passes
    assert len(counted.windows) - len(windows) <= 4


def test_on_step_sees_every_step_and_may_end_the_run(run) -> None:
    steps: list[int] = []
    whole = run({"on_step": lambda best: steps.append(best.step)}, steps=4, octaves=2)
    assert steps == [*range(8)]
    ended = run({"on_step": lambda best: best.step == 2}, steps=4, octaves=2)
    assert torch.equal(ended.probability_curve, whole.probability_curve[:3])
    assert int(ended.steps.max()) <= 2


@pytest.mark.parametrize("parametrization", [LogMel(), StftGain()], ids=["log_mel", "sound"])
def test_watched_items_are_kept_on_the_way(run, parametrization) -> None:
    """What is kept after some steps is the dream of so many steps."""
    settings = {"parametrization": parametrization, "keep": "last"}
    iterates = run({"watched": [3, 1]}, steps=24, **settings).iterates
    assert [(i, *kept) for i, kept in iterates.items()] == [(3, 2, 4, 8, 16), (1, 2, 4, 8, 16)]
    eight = run(steps=8, **settings)
    expected = eight.log_mel if eight.waveform is None else eight.waveform
    for i in (3, 1):
        torch.testing.assert_close(iterates[i][8], expected[i], atol=1e-5, rtol=1e-4)
    assert eight.iterates == {}


# What is refused ------------------------------------------------------------------------------


def infinite(output: ForwardOutput, targets: Tensor) -> Tensor:
    return LogProbability()(output, targets) / 0.0


def infinite_once_moved(output: ForwardOutput, targets: Tensor) -> Tensor:
    moved = (output.log_mel - output.start).square().mean(dim=(1, 2)).sqrt()
    return LogProbability()(output, targets) / (moved < 3.5 * NATURAL_PER_DB)


def steep(output: ForwardOutput, targets: Tensor) -> Tensor:
    return (output.log_mel - output.log_mel.detach()).square().sum(dim=(1, 2)).sqrt()


@pytest.mark.parametrize("told_late", [False, True])
@pytest.mark.parametrize("steps", [4, 5, 6])
def test_what_is_not_finite_is_refused_also_in_the_last_step(
    run, monkeypatch, steps, told_late
) -> None:
    """A CUDA device may answer later than the run ends."""
    if told_late:
        monkeypatch.setattr(DeferredRead, "read", lambda *asked: None)
    settings = {"objective": infinite_once_moved, "step_size": 1.0, "steps": steps}
    expected = r"objective infinite_once_moved or .* not finite at step 4; lower dream.step_size=1"
    with pytest.raises(InputError, match=expected):
        run(**settings)
    sizes = torch.tensor([1.0, 0.5, 50.0, 0.3, 0.2])
    with pytest.raises(InputError, match=r"not finite at step 1; lower dream.step_size=50"):
        run({"step_sizes": sizes}, **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": infinite}, r"objective infinite or .* not finite at step 0; that is at th"),
        ({"objective": steep}, r"objective steep or its gradient is not finite at step 0"),
        ({"objective": lambda heard, targets: heard.logits.sum()}, r"objective <lambda> gave \(\)"),
        ({"objective": lambda heard, targets: heard.logits[:, 0]},
         r"objective <lambda> gave \(3, 11\); expected a tensor with .* item, \(3,\)"),
        ({"objective": lambda heard, targets: None}, r"objective <lambda> gave a NoneType; expe"),
        ({"objective": lambda heard, targets: heard.logits.detach().mean((1, 2))},
         r"objective <lambda> gave values without a gradient; expected a function of the net"),
        ({"objective": Logit}, r"objective=Logit is a class; expected Logit\(\.\.\.\)"),
        ({"parametrization": "log_mel"}, r"parametrization='log_mel'; expected an object of ir"),
        ({"parametrization": LogMel}, r"parametrization=LogMel is a class; expected LogMel\("),
        ({"transform": [Jitter(frames=2)]}, r"transform=\[.*; Chain\(\[\.\.\.\]\) for several"),
        ({"transform": Jitter}, r"transform=Jitter is a class; expected Jitter\(\.\.\.\)"),
        ({"constraint": abs}, r"constraint=<built-in function abs>; expected an object of irdream"),
        ({"constraint": "masking"}, r"constraint='masking'; expected an object of irdream.dre"),
        ({"constraint": [MaxChange]}, r"constraint=MaxChange is a class; expected MaxChange\("),
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
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(run, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        run(**changes)


@pytest.mark.parametrize("objective", [LogProbability(), Probability(), Margin(), 3 * Margin()])
def test_a_margin_step_fits_objectives_that_know_their_goal(run, objective) -> None:
    settings = {"optimizer": MarginStep(), "confidence": 0.55, "steps": 20, "step_size": 4.0}
    dreams = run(objective=objective, **settings)
    before, after = (x.of_target(TARGETS) for x in (dreams.before, dreams.after))
    assert (after > 1.5 * before).all()
    assert dreams.reached.any()


@pytest.mark.parametrize(
    ("log_mel", "changes", "message"),
    [
        (True, {"parametrization": Waveform()}, r"Waveform needs the originals' waveforms, and on"),
        (True, {"parametrization": StftGain()}, r"StftGain needs the originals' waveforms, and on"),
        (True, {"constraint": Consistency(every=5)}, r"Consistency needs the originals' waveforms"),
        (False, {}, r"nothing to dream on; expected a waveform or a log-mel"),
    ],
)
def test_what_needs_a_waveform_is_refused_without(
    recognizer, waveform, ascent, log_mel, changes, message
) -> None:
    given = recognizer.log_mel(waveform) if log_mel else None
    with pytest.raises(InputError, match=message):
        ascent(**changes).run(recognizer, None, TARGETS, SEEDS, log_mel=given)


def test_a_dream_of_log_mels_is_that_of_their_waveforms(run, recognizer, waveform, ascent) -> None:
    log_mel = recognizer.log_mel(waveform)
    first = ascent().run(recognizer, None, TARGETS, SEEDS, log_mel=log_mel)
    assert torch.equal(first.signal, run().signal)
    assert first.waveform is None


# On a GPU ------------------------------------------------------------------------------------


def on_cuda(test: Callable) -> Any:
    needed = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    return pytest.mark.cuda(needed(test))


@on_cuda
def test_a_cuda_device_dreams_as_the_cpu_does(recognizer, waveform, ascent) -> None:
    loop = ascent(steps=3)
    on_cpu = loop.run(recognizer.double(), waveform.double(), TARGETS, SEEDS)
    on_cuda = loop.run(recognizer.cuda(), waveform.double().cuda(), TARGETS.cuda(), SEEDS)
    torch.testing.assert_close(on_cuda.signal.cpu(), on_cpu.signal, atol=1e-6, rtol=1e-6)
    assert torch.equal(on_cuda.steps.cpu(), on_cpu.steps)


MARGIN = {"octaves": 2, "constraint": MaxChange(db=3.0), "optimizer": MarginStep()}


@on_cuda
@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 0.3, "patience": 3},
        {"transform": Jitter(frames=3), "parametrization": Waveform(), "step_size": 3.0},
        {**MARGIN, "confidence": 0.9},
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


@pytest.mark.parametrize(
    ("strength", "steps", "most_db", "confidence"),
    [
        (None, 60, 12.0, None),
        ("quiet", 60, 12.0, 0.93),
        ("clear", 60, 12.0, None),
        ("strong", 60, 18.0, None),
        (2, 60, 24.0, None),
        (0.5, 30, 12.0, None),
        (0.001, 1, 12.0, None),
    ],
)
def test_steps_gain_and_stop(ascent, strength, steps, most_db, confidence) -> None:
    inner = StftGain(max_gain_db=12.0, keep_peak=True, floor_db=30.0)
    given = ascent(parametrization=Fourier(of=inner), steps=60)
    made: Any = with_strength(given, strength)
    assert (made.steps, made.confidence) == (steps, confidence)
    assert made.step_size == given.step_size * (0.25 if strength == "quiet" else 1.0)
    assert made.parametrization.of.max_gain_db == pytest.approx(most_db)
    assert made.parametrization.of.keep_peak
    assert made.parametrization.of.floor_db == 30.0
    assert inner.max_gain_db == 12.0  # of the caller: as it was
    assert given.steps == 60


def test_what_has_no_gain_is_dreamed_for_longer_alone(ascent) -> None:
    log_mel = LogMel()
    given = ascent(parametrization=log_mel, steps=10, confidence=0.9)
    made = with_strength(given, "strong")
    assert made.parametrization is log_mel
    assert made.steps == 15
    assert made.confidence is None  # else it would stop where it did before
    assert with_strength(given, "clear").confidence == 0.9
    aimed = ascent(parametrization=log_mel, confidence=0.9, optimizer=MarginStep())
    assert with_strength(aimed, "strong").confidence == 0.9


@pytest.mark.parametrize("strength", ["loud", 0, -1])
def test_another_strength_is_refused(ascent, strength) -> None:
    with pytest.raises(
        InputError, match=rf"^strength={strength}; expected quiet or clear or strong, or"
    ):
        with_strength(ascent(), strength)
