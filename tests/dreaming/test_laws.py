"""What holds for every dream, whatever it is put together from.

An item dreams alone as in any batch; a dream can be repeated bit for bit; what is heard obeys the
constraint. The combinations are drawn, the same ones each time; each parametrization, view,
constraint, optimizer and objective stands in some of them.
"""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming import constraints, optimizers, transforms
from irdream.dreaming.ascent import Ascent, _Run
from irdream.dreaming.best import Dreams
from irdream.dreaming.constraints.base import Constraints
from irdream.dreaming.objectives import (
    L2,
    Inversion,
    Layer,
    Logit,
    LogProbability,
    Margin,
    MaskingPenalty,
    Probability,
    TotalVariation,
)
from irdream.dreaming.parametrizations import LogMel, Parametrization
from tests.dreaming.parametrizations.conftest import MADE as PARAMETRIZATIONS
from tests.dreaming.test_transforms import MADE as VIEWS

TARGETS = torch.tensor([2, 7, 0])
SEEDS = [11, 12, 2**62 + 13]


Made = dict[str, Callable[[], Any]]
STEP_SIZES = {"dB": 1.5, "% of the original's RMS": 4.0, "radians": 0.1, "of a logit": 1.0}
TRANSFORMS: Made = {"none": lambda: None, **VIEWS}
CONSTRAINTS: Made = {
    "none": lambda: None,
    "max_change": lambda: constraints.MaxChange(db=1.0),
    "rmse_budget": lambda: constraints.RmseBudget(db=1.2),
    "band_range": lambda: constraints.BandRange(least_db=-60.0, most_db=-2.0),
    "frequency_band": lambda: constraints.FrequencyBand(low_hz=200.0, high_hz=800.0),
    "time_range": lambda: constraints.TimeRange(start_seconds=0.1, end_seconds=0.3),
    "only_loud": lambda: constraints.OnlyLoud(below_peak_db=25.0),
    "harmonic": lambda: constraints.Harmonic(frames=3, bands=3),
    "percussive": lambda: constraints.Percussive(frames=3, bands=3),
    "loudness_lock": constraints.LoudnessLock,
    "masking": lambda: constraints.MaskingProjection(margin_db=-6.0, rounds=2),
    "snr_floor": lambda: constraints.SnrFloor(db=30.0),
    "two": lambda: [constraints.MaxChange(db=4.0), constraints.RmseBudget(db=1.5)],
}
NormalizedAscent = optimizers.NormalizedAscent
OPTIMIZERS: Made = {
    **{
        f"{norm}_{momentum}": functools.partial(NormalizedAscent, norm=norm, momentum=momentum)
        for norm in ("rms", "mean_abs", "sign")
        for momentum in (0.0, 0.7)
    },
    "none": lambda: NormalizedAscent(norm="none"),
    "margin_step": optimizers.MarginStep,
    "adam": lambda: torch.optim.Adam,
    "sgd": lambda: functools.partial(torch.optim.SGD, momentum=0.5),
    "rmsprop": lambda: torch.optim.RMSprop,
    "adagrad": lambda: functools.partial(torch.optim.Adagrad, lr=123.0),
    "function": lambda: torch.tanh,
}
OBJECTIVES: Made = {
    "log_probability": LogProbability,
    "margin": Margin,
    "probability": Probability,
    "logit": Logit,
    "layer": lambda: Layer("features.3"),
    "sum": lambda: LogProbability() - 0.01 * TotalVariation() - 0.1 * L2(),
    "inversion": lambda: 2.0 * Logit() + Inversion("features.0"),
    "masked": lambda: LogProbability() - 0.1 * MaskingPenalty(),
}
GROUPS = {
    "parametrization": PARAMETRIZATIONS,
    "transform": TRANSFORMS,
    "constraint": CONSTRAINTS,
    "optimizer": OPTIMIZERS,
    "objective": OBJECTIVES,
}
CHOICES = [(group, name) for group, made in GROUPS.items() for name in made]
every_choice = pytest.mark.parametrize(("group", "name"), CHOICES)


def fits(constraint: Any, parametrization: Parametrization) -> bool:
    several = constraint if isinstance(constraint, list) else [constraint]
    kinds = set(parametrization.kinds)
    return constraint is None or all(kinds.intersection(one.acts_on) for one in several)


@st.composite
def dreams_of(draw: st.DrawFn, group: str, name: str) -> Callable[..., Ascent]:
    """Draw how to dream some items, with one choice given; each call makes it anew."""
    names = {
        other: name if other == group else draw(st.sampled_from(sorted(made)), label=other)
        for other, made in GROUPS.items()
    }
    if not fits(made("constraint", names), made("parametrization", names)):
        if group == "constraint":
            fitting = [
                p for p in PARAMETRIZATIONS
                if fits(made("constraint", names), PARAMETRIZATIONS[p]())
            ]  # fmt: skip
            names["parametrization"] = draw(st.sampled_from(fitting))
        else:
            names["constraint"] = "none"
    if names["optimizer"] == "margin_step" and names["objective"] not in (
        "log_probability", "margin", "probability",
    ):  # fmt: skip
        other = "objective" if group == "optimizer" else "optimizer"
        names[other] = {"objective": "margin", "optimizer": "rms_0.0"}[other]
    changes = {
        "octaves": draw(st.integers(1, 3)),
        "steps": draw(st.integers(1, 3)),
        "octave_ratio": draw(st.sampled_from([(1.4, 1.4), (1.0, 2.0), (1.7, 1.0)])),
        "start_noise": draw(st.sampled_from([0.0, 0.5])),
        "patience": draw(st.sampled_from([None, 1, 2])),
        "confidence": draw(st.sampled_from([None, 0.12, 0.3, 0.9])),
        "slice_windows": draw(st.sampled_from([None, 1, 7])),
    }
    jitter, every = draw(st.sampled_from([0, 3])), draw(st.sampled_from([0, 2]))
    if names["optimizer"] == "margin_step":
        changes["confidence"] = changes["confidence"] or 0.3

    def make() -> Ascent:
        made_of = {other: made(other, names) for other in GROUPS}
        made_of["transform"] = transforms.with_jitter(made_of["transform"], jitter)
        made_of["constraint"] = constraints.with_consistency(made_of["constraint"], every)
        step_size = STEP_SIZES[made_of["parametrization"].step_unit]
        return Ascent(step_size=step_size, **made_of, **changes)

    return make


def made(group: str, names: dict[str, str]) -> Any:
    return GROUPS[group][names[group]]()


def drawn(examples: int, group: str, name: str, **more: st.SearchStrategy) -> Any:
    """Draw so many dreams of a choice, others for each choice, and the same ones each time."""

    def decorated(law: Callable) -> Callable:
        limits = settings(max_examples=examples, deadline=None, database=None)
        drawing = given(make=dreams_of(group, name), **more)(law)
        return seed(CHOICES.index((group, name)))(limits(drawing))

    return decorated


def assert_same(one: Dreams, i: int, other: Dreams, j: int, *, atol: float) -> None:
    close = functools.partial(torch.testing.assert_close, atol=atol, rtol=0)
    close(one.signal[i], other.signal[j])
    close(one.log_mel[i], other.log_mel[j])
    assert (one.waveform is None) == (other.waveform is None)
    if one.waveform is not None and other.waveform is not None:
        close(one.waveform[i], other.waveform[j])
    for which in ("before", "after"):
        for part in ("probabilities", "scores", "windows"):
            close(getattr(getattr(one, which), part)[i], getattr(getattr(other, which), part)[j])
    assert one.steps[i] == other.steps[j]
    assert one.reached[i] == other.reached[j]
    for name in ("probability_curve", "objective_curve"):
        first, second = getattr(one, name)[:, i], getattr(other, name)[:, j]
        shared = min(len(first), len(second))  # a run ends with its last item
        torch.testing.assert_close(
            first[:shared], second[:shared], atol=1e-5, rtol=1e-5, equal_nan=True
        )
        assert first[shared:].isnan().all()
        assert second[shared:].isnan().all()


@every_choice
def test_an_item_alone_is_dreamed_as_in_any_batch_order_and_place(
    tiny, sounds, group, name
) -> None:
    """In float64, since steps through logarithms amplify rounding."""

    @drawn(
        3, group, name,
        samples=st.integers(900, 1200),
        batch=st.permutations([0, 1, 2]),
        left_out=st.integers(0, 1),
        place=st.integers(0, 2),
    )  # fmt: skip
    def law(make, samples, batch, left_out, place) -> None:
        recognizer, waveform = tiny(), sounds(3, samples)
        sizes = torch.tensor([1.0, 0.4, 2.0]) * make().step_size

        def run(items: list[int]) -> Dreams:
            return make().run(
                recognizer, waveform[items], TARGETS[items], [SEEDS[i] for i in items],
                step_sizes=sizes[items],
            )  # fmt: skip

        batch = batch[left_out:]
        place = place % len(batch)
        assert_same(run([batch[place]]), 0, run(batch), place, atol=1e-9)

    law()


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_a_seed_works_as_documented_the_same_dream_bit_for_bit(tiny, sounds, name) -> None:
    @drawn(2, "parametrization", name)
    def law(make) -> None:
        recognizer, waveform = tiny().float(), sounds(3, 1000).float()
        first, second = (make().run(recognizer, waveform, TARGETS, SEEDS) for _ in range(2))
        assert torch.equal(first.signal, second.signal)
        assert torch.equal(first.log_mel, second.log_mel)
        assert torch.equal(first.after.probabilities, second.after.probabilities)
        assert torch.equal(first.objective_curve.nan_to_num(), second.objective_curve.nan_to_num())

    law()


@pytest.mark.parametrize("name", [name for name in CONSTRAINTS if name != "none"])
def test_what_is_heard_obeys_the_constraint_at_every_step(tiny, sounds, name) -> None:
    """A signal obeys when the constraint, which leaves such a signal unchanged, changes nothing."""

    @drawn(3, "constraint", name)
    def law(make) -> None:
        loop, heard = make(), []
        listen = _Run._input_of

        def probing(run, signal, batch) -> tuple[Tensor | None, Tensor]:
            waveform, log_mel = listen(run, signal, batch)
            held = None if waveform is None else waveform.detach()
            heard.append((batch.start, signal.detach(), held))
            return waveform, log_mel

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Run, "_input_of", probing)
            dreams = loop.run(tiny(), sounds(3, 1000), TARGETS, SEEDS)
        given = loop.constraint if isinstance(loop.constraint, list) else [loop.constraint]
        given = [one for one in given if one.every is None]
        last = Constraints(given[-1:], loop.parametrization.kinds)  # the others may be undone
        assert len(heard) > 1
        for start, signal, sound in heard:
            prepared = last.prepare(start)
            obeying = {"sound": sound, loop.parametrization.acts_on: signal}
            for kind in loop.parametrization.kinds:
                held = last.project(kind, obeying[kind], start, prepared)
                torch.testing.assert_close(held, obeying[kind], atol=1e-9, rtol=0)
        torch.testing.assert_close(dreams.signal, signal_of_all(heard, 3), atol=0, rtol=0)

    law()


def signal_of_all(heard: list, items: int) -> Tensor:
    """Return the signals that were heard last, of the result."""
    last: list[Tensor] = []
    for _, signal, _ in reversed(heard):
        last.insert(0, signal)
        if sum(map(len, last)) >= items:
            break
    return torch.cat(last)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_scale_transform_does_not_pad_the_width_by_the_heights_amount(tiny, sounds, name) -> None:
    """Shapes survive every view of inputs that are not square, of any length."""
    for samples in (480, 987, 2500):  # 12, 24 and 62 frames of 9 bands
        dreams = Ascent(
            parametrization=LogMel(), objective=LogProbability(), steps=1, octaves=2,
            optimizer=NormalizedAscent(), transform=TRANSFORMS[name](),
        ).run(tiny(), sounds(1, samples), TARGETS[:1], SEEDS[:1])  # fmt: skip
        assert dreams.log_mel.shape == (1, 9, samples // 40)
        assert dreams.log_mel.isfinite().all()
