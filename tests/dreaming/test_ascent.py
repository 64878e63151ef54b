"""The loop: scores rise, items stop on their own, nothing is left behind in the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from irdream.dreaming.ascent import Ascent, frozen, resize
from irdream.dreaming.objectives import Heard, Logit, LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, Waveform
from irdream.errors import InputError
from irdream.recognizer import Recognizer

TARGETS = torch.tensor([2, 7, 0, 2, 9])
SEEDS = [11, 12, 13, 14, 15]


def ascent(**changes) -> Ascent:
    settings = {
        "parametrization": LogMel(),
        "objective": LogProbability(),
        "optimizer": NormalizedAscent(),
        "step_size": 1.0,
        "steps": 6,
        "confidence": None,
    }
    return Ascent(**{**settings, **changes})


VARIANTS = [
    pytest.param({}, id="log_mel"),
    pytest.param({"parametrization": Waveform(), "step_size": 3.0}, id="waveform"),
    pytest.param({"octaves": 3, "steps": 3}, id="octaves"),
    pytest.param(
        {"parametrization": Waveform(), "octaves": 2, "step_size": 3.0}, id="wave-octaves"
    ),
    pytest.param({"jitter_frames": 5}, id="jitter"),
    pytest.param({"objective": Logit()}, id="logit"),
    pytest.param({"optimizer": NormalizedAscent(norm="mean_abs")}, id="mean_abs"),
    pytest.param({"optimizer": NormalizedAscent(norm="sign")}, id="sign"),
    pytest.param({"confidence": 0.2}, id="early stop"),
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_few_steps_raise_the_target_probability(recognizer, waveform, changes) -> None:
    dreams = ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS)

    before, after = (x.of_target(TARGETS) for x in (dreams.before, dreams.after))
    assert (after > 1.5 * before).all()


@pytest.mark.parametrize("changes", VARIANTS)
def test_an_item_alone_equals_the_item_in_a_batch(recognizer, waveform, changes) -> None:
    """In float64, since many steps through a logarithm amplify the rounding of float32."""
    recognizer.double()
    waveform = waveform.double()
    loop = ascent(**changes)
    together = loop.run(recognizer, waveform, TARGETS, SEEDS)

    for i in (0, 3):
        alone = loop.run(recognizer, waveform[i : i + 1], TARGETS[i : i + 1], SEEDS[i : i + 1])
        torch.testing.assert_close(alone.signal[0], together.signal[i], atol=1e-9, rtol=1e-9)
        assert alone.steps[0] == together.steps[i]


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_same_seed_gives_the_same_dream_bit_for_bit(recognizer, waveform, changes) -> None:
    first, second = (
        ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS).signal for _ in range(2)
    )

    assert torch.equal(first, second)


def test_another_seed_gives_another_jitter(recognizer, waveform) -> None:
    loop = ascent(jitter_frames=5)
    first = loop.run(recognizer, waveform, TARGETS, SEEDS).signal
    second = loop.run(recognizer, waveform, TARGETS, [s + 1 for s in SEEDS]).signal

    assert not torch.allclose(first, second)


def test_a_step_has_the_asked_size_in_db(recognizer, waveform) -> None:
    loop = ascent(step_size=0.7, steps=1)
    dreams = loop.run(recognizer, waveform, TARGETS, SEEDS)

    change = dreams.signal - recognizer.log_mel(waveform)
    rms_db = change.square().mean(dim=(1, 2)).sqrt() * 20 / torch.log(torch.tensor(10.0))
    torch.testing.assert_close(rms_db, torch.full((5,), 0.7), atol=1e-4, rtol=0)


def test_a_waveform_step_is_a_percentage_of_the_rms(recognizer, waveform) -> None:
    quiet = 0.1 * waveform
    loop = ascent(parametrization=Waveform(), step_size=2.0, steps=1)
    change = loop.run(recognizer, quiet, TARGETS, SEEDS).signal - quiet

    share = change.square().mean(dim=1).sqrt() / quiet.square().mean(dim=1).sqrt()
    torch.testing.assert_close(share, torch.full((5,), 0.02), atol=1e-5, rtol=0)


def test_items_stop_at_the_confidence_and_keep_their_dream(recognizer, waveform) -> None:
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


def test_an_item_that_is_there_already_is_not_changed(recognizer, waveform) -> None:
    before = ascent(steps=1).run(recognizer, waveform, TARGETS, SEEDS).before.probabilities
    targets = before.argmax(dim=1)
    dreams = ascent(confidence=0.05).run(recognizer, waveform, targets, SEEDS)

    assert (dreams.steps == 0).all()
    assert torch.equal(dreams.signal, recognizer.log_mel(waveform))


def test_the_best_iterate_is_kept_when_the_last_is_worse(recognizer, waveform) -> None:
    dreams = ascent(step_size=25.0, steps=12).run(recognizer, waveform, TARGETS, SEEDS)

    curves = dreams.probability_curve
    torch.testing.assert_close(dreams.after.of_target(TARGETS), curves.max(dim=0).values)
    assert (curves[-1] < curves.max(dim=0).values).any()


def test_what_is_reported_is_what_the_recognizer_says_of_the_signal(recognizer, waveform) -> None:
    dreams = ascent().run(recognizer, waveform, TARGETS, SEEDS)

    heard = Heard.of(recognizer.eval(), dreams.signal)
    torch.testing.assert_close(heard.probabilities(), dreams.after.probabilities)
    torch.testing.assert_close(dreams.after.probabilities.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_model_is_left_as_it_was(recognizer, waveform, changes) -> None:
    recognizer.model.features[3].eval()
    recognizer.model.classifier.weight.requires_grad_(False)
    before = _state(recognizer)
    ascent(**changes).run(recognizer, waveform, TARGETS, SEEDS)

    assert _state(recognizer) == before
    assert all(weight.grad is None for weight in recognizer.parameters())


def test_the_model_is_left_as_it_was_after_an_exception(recognizer, waveform) -> None:
    def broken(heard: Heard, targets: Tensor) -> Tensor:
        raise RuntimeError("broken objective")

    recognizer.train()
    before = _state(recognizer)
    with pytest.raises(RuntimeError, match="broken objective"):
        ascent(objective=broken).run(recognizer, waveform, TARGETS, SEEDS)

    assert _state(recognizer) == before


def _state(recognizer: Recognizer) -> list:
    weights = [(w.requires_grad, w.sum().item()) for w in recognizer.parameters()]
    buffers = [b.sum().item() for b in recognizer.buffers()]
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in recognizer.modules()]
    return [weights, buffers, hooks, [m.training for m in recognizer.modules()]]


def test_frozen_holds_eval_mode_inside(recognizer) -> None:
    recognizer.train()
    with frozen(recognizer):
        assert not any(module.training for module in recognizer.modules())
        assert not any(weight.requires_grad for weight in recognizer.parameters())
    assert recognizer.model.training


def test_an_objective_that_is_not_finite_is_refused(recognizer, waveform) -> None:
    def infinite(heard: Heard, targets: Tensor) -> Tensor:
        return LogProbability()(heard, targets) / 0.0

    with pytest.raises(InputError, match=r"not finite at step 0; lower dream.step_size=1"):
        ascent(objective=infinite).run(recognizer, waveform, TARGETS, SEEDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_size": 0.0}, r"dream.step_size=0.0; expected a number above 0"),
        ({"steps": 0}, r"dream.steps=0; expected at least 1"),
        ({"octaves": -3}, r"dream.octaves=-3; expected at least 1"),
        ({"octave_ratio": [0.5, 1.4]}, r"dream.octave_ratio=\[0.5, 1.4\]; expected two numbers"),
        ({"octave_ratio": [1.4]}, r"dream.octave_ratio=\[1.4\]; expected two numbers"),
        ({"jitter_frames": -1}, r"dream.jitter_frames=-1; expected at least 0"),
        ({"confidence": 1.5}, r"dream.confidence=1.5; expected a number between 0 and 1"),
    ],
)
def test_values_out_of_range_are_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        ascent(**changes)


def test_octaves_start_on_a_coarse_grid(recognizer, waveform) -> None:
    """A dream of the coarsest octave alone is smooth: upsampled from fewer points."""
    loop = ascent(octaves=4, steps=1, octave_ratio=(1.5, 2.0))
    assert loop._schedule() == [3, 2, 1, 0]
    assert loop._grid(torch.Size([24, 88]), 3) == (7, 11)
    assert loop._grid(torch.Size([17600]), 1) == (8800,)


@pytest.mark.parametrize("shape", [(3, 24, 88), (2, 128, 43), (1, 16, 301), (4, 17601)])
def test_resize_keeps_constants_and_shapes(shape) -> None:
    size = tuple(max(2, n // 2) for n in shape[1:])
    small = resize(torch.ones(shape), size)

    assert small.shape == (shape[0], *size)
    torch.testing.assert_close(resize(small, shape[1:]), torch.ones(shape))


def test_slices_do_not_change_a_dream(recognizer, waveform) -> None:
    small, large = (
        ascent(slice_windows=n).run(recognizer, waveform, TARGETS, SEEDS).signal for n in (1, 1000)
    )

    torch.testing.assert_close(small, large, atol=2e-4, rtol=1e-4)


def test_on_step_sees_every_step(recognizer, waveform) -> None:
    steps: list[int] = []
    ascent(steps=4).run(
        recognizer, waveform, TARGETS, SEEDS, on_step=lambda record: steps.append(record.step)
    )

    assert steps == [0, 1, 2, 3]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_dreams_as_the_cpu_does(recognizer, waveform) -> None:
    loop = ascent(steps=3)
    on_cpu = loop.run(recognizer.double(), waveform.double(), TARGETS, SEEDS)
    on_cuda = loop.run(recognizer.cuda(), waveform.double().cuda(), TARGETS.cuda(), SEEDS)

    torch.testing.assert_close(on_cuda.signal.cpu(), on_cpu.signal, atol=1e-6, rtol=1e-6)
    assert torch.equal(on_cuda.steps.cpu(), on_cpu.steps)
