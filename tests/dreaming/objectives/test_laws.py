"""What every objective obeys, by itself and in a sum."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.objectives import (
    L1,
    L2,
    Blur,
    Caricature,
    Channel,
    Direction,
    Diversity,
    ForwardOutput,
    Inversion,
    Layer,
    Logit,
    LogProbability,
    Margin,
    Neuron,
    Probability,
    TotalVariation,
    WeightedSum,
)

MOST_ITEMS = 6
OBJECTIVES = [
    LogProbability(),
    Probability(),
    Logit(),
    Margin(),
    Layer("spectrogram"),
    Layer("features"),
    Channel("spectrogram", 2),
    Channel("features", 5),
    Neuron("spectrogram", 1),
    Neuron("spectrogram", 0, mel=2, frame=4),
    Neuron("features", 3),
    Direction("spectrogram", [1.0, -0.5, 2.0]),
    Direction("spectrogram", [1.0, -0.5, 2.0], cosine_power=2),
    Direction("features", [1.0, 0.0, 0.0, 2.0, 0.0, -1.0], cosine_power=0.5),
    Inversion("spectrogram"),
    Inversion("features"),
    Caricature("spectrogram", cosine_power=0),
    Caricature("spectrogram", cosine_power=2),
    Caricature("features"),
    Diversity("spectrogram"),
    Diversity("features"),
    TotalVariation(),
    L1(),
    L2(),
    Blur(),
    Blur(mels=0.0, frames=3.0),
    LogProbability() - 0.01 * TotalVariation() + 0.5 * Inversion("spectrogram"),
    0.5 * Layer("spectrogram") + 2 * Diversity("spectrogram"),
]
ON_LOG_MEL = [TotalVariation(), L1(), L2(), Blur()]
of_each = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def runs(draw) -> dict[str, Tensor]:
    """Draw a run of some items, and the order and the groups in which they are output."""
    items = draw(st.integers(1, MOST_ITEMS))
    shape = (MOST_ITEMS, draw(st.integers(3, 9)), draw(st.integers(5, 12)))
    seed = draw(st.integers(0, 10**6))
    return {
        "dreams": drawn(seed, *shape),
        "starts": drawn(seed + 1, *shape),
        "targets": torch.tensor(draw(st.permutations([0, 1, 2, 3, 1, 2]))),
        "items": torch.tensor(draw(st.permutations(range(MOST_ITEMS)))[:items]),
        "groups": torch.tensor(draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))),
    }


def score(objective, network, run: dict[str, Tensor], items: Tensor) -> Tensor:
    dreams, starts, groups = (run[name][items] for name in ("dreams", "starts", "groups"))
    output = network.output(
        objective, dreams, start=starts, items=items, groups=groups, run=run["starts"]
    )
    return objective(output, run["targets"][items])


@of_each
@settings(max_examples=20, deadline=None)
@given(run=runs())
def test_an_items_score_does_not_depend_on_the_batch(objective, network, run) -> None:
    items = run["items"]
    together = score(objective, network, run, items)
    assert together.shape == (len(items),)
    assert together.isfinite().all()
    for place, item in enumerate(items):
        own = run["groups"][items] == run["groups"][item]
        kept = items[own] if objective.needs_whole_groups else item[None]
        alone = score(objective, network, run, kept)[kept == item]
        torch.testing.assert_close(alone[0], together[place], atol=1e-9, rtol=1e-9)
    assert torch.equal(score(objective, network, run, items), together)


@of_each
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_its_gradient_agrees_with_finite_differences(objective, network, seed) -> None:
    start, groups = drawn(seed + 1, 3, 4, 7), torch.tensor([0, 1, 0])
    targets = torch.tensor([2, 0, 3])

    def value(log_mel: Tensor) -> Tensor:
        output = network.output(
            objective, log_mel, start=start, groups=groups, run=drawn(2, 6, 4, 7)
        )
        return objective(output, targets)

    dreams = drawn(seed, 3, 4, 7).requires_grad_()
    assert torch.autograd.gradcheck(value, (dreams,), atol=1e-6, rtol=1e-4, fast_mode=True)


@of_each
def test_it_waits_for_no_device_and_stays_on_it(objective, network) -> None:
    """Tensors on "meta" have no values: asking for one raises, and so does mixing devices."""
    log_mel = torch.empty(6, 4, 7, device="meta", requires_grad=True)
    groups = torch.empty(6, dtype=torch.long, device="meta")
    output = network.output(objective, log_mel, groups=groups)
    value = objective(output, torch.empty(6, dtype=torch.long, device="meta"))
    assert value.shape == (6,)
    assert value.dtype == torch.float32
    value.sum().backward()
    assert log_mel.grad is not None


@of_each
def test_silence_has_a_finite_gradient(objective, network) -> None:
    """Also where all activations are zero."""
    silent = torch.zeros(6, 4, 7, dtype=torch.float64, requires_grad=True)
    output = network.output(objective, silent, groups=torch.zeros(6))
    nothing = {name: value * 0 for name, value in output.activations.items()}
    output = ForwardOutput(**{**vars(output), "activations": nothing})
    (gradient,) = torch.autograd.grad(objective(output, torch.zeros(6).long()).sum(), silent)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("objective", ON_LOG_MEL, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), mels=st.integers(1, 5), frames=st.integers(1, 300))
def test_what_reads_the_log_mel_takes_any_size_and_sound(objective, seed, mels, frames) -> None:
    none = torch.empty(0)
    for shape in ((2, mels, frames), (2, frames)):
        output = partial(
            ForwardOutput, logits=none, log_probabilities=none, start=drawn(seed + 1, *shape)
        )
        dreams = drawn(seed, *shape).requires_grad_()
        both = objective(output(log_mel=dreams), none)
        one = output(log_mel=dreams[1:], start=drawn(seed + 1, *shape)[1:])
        assert both.shape == (2,)
        torch.testing.assert_close(objective(one, none)[0], both[1], atol=1e-9, rtol=1e-9)
        (gradient,) = torch.autograd.grad(both.sum(), dreams)
        assert gradient.isfinite().all()


@of_each
def test_it_says_what_it_reads(objective, network) -> None:
    """A stranger's layers and outputs are not touched."""
    output = network.output(objective, drawn(0, 6, 4, 7), groups=torch.zeros(6))
    layers = {name: output.activations[name] for name in objective.layers}
    unread = {} if objective.reads_output else dict.fromkeys(("logits", "log_probabilities"), None)
    less = ForwardOutput(**{**vars(output), "activations": layers, **unread})
    targets = torch.zeros(6).long()
    assert torch.equal(objective(less, targets), objective(output, targets))


def test_a_sum_reads_what_its_terms_read() -> None:
    terms = [Layer("a"), Layer("b"), Channel("a", 0), Diversity("c")]
    both = WeightedSum([(1.0, term) for term in terms])
    assert both.layers == ("a", "b", "c")
    assert (both.reads_output, both.needs_whole_groups) == (False, True)
    assert (both + Logit()).reads_output
    assert not (Layer("a") + Logit()).needs_whole_groups
