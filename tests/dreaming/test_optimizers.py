"""Steps of known size, for each item on its own."""

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.optimizers import (
    FromFunction,
    LeastChange,
    MarginStep,
    NormalizedAscent,
    Optimizer,
    State,
    TorchOptimizer,
    as_optimizer,
    normalized,
)
from irdream.errors import InputError

GRADIENT = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [1e-25, 1.0, 1e5]
).view(3, 1, 1)
STEPS = 0.1 * torch.arange(1.0, 5.0).view(-1, 1, 1)
SIZES = {
    "rms": lambda x: x.square().mean(dim=(1, 2)).sqrt(),
    "mean_abs": lambda x: x.abs().mean(dim=(1, 2)),
    "sign": lambda x: x.abs().amax(dim=(1, 2)),
}


def take(
    optimizer: Optimizer, parameters: Tensor, gradient: Tensor, state: State, **changes: Any
) -> Tensor:
    """Return where a step goes, with the step sizes 0.1, 0.2, ..., far from the goal."""
    items = len(gradient)
    batch: Any = SimpleNamespace(
        parameters=parameters,
        undreamed=torch.zeros(items, 4, 5),
        step=changes.pop("step", STEPS[:items]),
    )
    far = {"score": torch.full((items,), -2.0), "goal": -0.1, "reached": torch.zeros(items) > 0}
    seen: Any = SimpleNamespace(gradient=gradient, **(far | changes))
    return optimizer.step(batch, seen, state)


def step(
    optimizer: Optimizer, gradient: Tensor = GRADIENT, state: State | None = None, **changes: Any
) -> Tensor:
    """Return one step from zero."""
    start = torch.zeros_like(gradient)
    state = optimizer.start(start) if state is None else state
    return take(optimizer, start, gradient, state, **changes)


# Normalized -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "size"), SIZES.items())
def test_the_size_of_each_item_is_one(norm, size) -> None:
    direction = normalized(GRADIENT, norm)

    torch.testing.assert_close(size(direction), torch.ones(len(GRADIENT)))
    assert (direction.sign() == GRADIENT.sign()).all()


@pytest.mark.parametrize(("norm", "size"), SIZES.items())
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_each_item_goes_up_by_its_own_step_size(norm, size, momentum) -> None:
    optimizer = NormalizedAscent(norm=norm, momentum=momentum)
    state = optimizer.start(GRADIENT)
    for turned in (GRADIENT, GRADIENT.flip(2), -GRADIENT):
        moved = step(optimizer, turned, state)
        torch.testing.assert_close(size(moved), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(step(optimizer).sign(), GRADIENT.sign())


@pytest.mark.parametrize("norm", ["rms", "mean_abs", "sign", "none"])
def test_a_zero_gradient_gives_no_step(norm) -> None:
    zeros = torch.zeros(2, 4, 5)
    assert torch.equal(normalized(zeros, norm), zeros)
    assert torch.equal(step(NormalizedAscent(norm=norm, momentum=0.5), zeros), zeros)


def test_momentum_keeps_a_share_of_the_earlier_directions() -> None:
    optimizer = NormalizedAscent(momentum=0.5)
    one, other = (normalized(torch.randn(3, 4, 5)) for _ in range(2))
    state = optimizer.start(one)
    step(optimizer, one, state)
    moved = step(optimizer, 7.0 * other, state)

    torch.testing.assert_close(moved, STEPS[:3] * normalized(0.5 * one + other))


# Of torch.optim ---------------------------------------------------------------------------------

FACTORIES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": functools.partial(torch.optim.AdamW, weight_decay=0.1, betas=(0.5, 0.9)),
    "sgd": functools.partial(torch.optim.SGD, lr=123.0, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
    "adagrad": functools.partial(torch.optim.Adagrad, lr=9.0),
    "rprop": torch.optim.Rprop,
}


@pytest.mark.parametrize("name", FACTORIES)
def test_an_optimizer_of_torch_steps_up_as_it_would_alone(name) -> None:
    """Against the same optimizer on each item's parameters, with its step size as learning rate."""
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(4, 3, 4, 5, generator=generator)
    start = torch.randn(3, 4, 5, generator=generator)
    optimizer, parameters = as_optimizer(FACTORIES[name]), start
    state = optimizer.start(start)
    for gradient in gradients:
        parameters = take(optimizer, parameters, gradient, state)

    for i, rate in enumerate([0.1, 0.2, 0.3]):
        alone = torch.nn.Parameter(start[i].clone())
        factory = FACTORIES[name]
        made = getattr(factory, "func", factory)
        reference = made([alone], **{**getattr(factory, "keywords", {}), "lr": rate})
        for gradient in gradients:
            alone.grad = -gradient[i]
            reference.step()
        torch.testing.assert_close(parameters[i], alone.detach())


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    name=st.sampled_from([*FACTORIES, "momentum"]),
    leave=st.lists(st.sampled_from([0, 1, 2, 3]), unique=True, max_size=3),
    after=st.integers(0, 2),
)
def test_the_others_go_on_as_if_nobody_had_left(name, leave, after) -> None:
    generator = torch.Generator().manual_seed(2)
    gradients = torch.randn(4, 4, 4, 5, generator=generator)
    made = NormalizedAscent(momentum=0.8) if name == "momentum" else FACTORIES[name]
    whole, parted = as_optimizer(made), as_optimizer(made)
    stay = torch.tensor([i for i in range(4) if i not in leave])
    everything, left = torch.zeros(4, 4, 5), torch.zeros(4, 4, 5)
    state, state_of_left = whole.start(everything), parted.start(left)
    rows = torch.arange(4)
    for i, gradient in enumerate(gradients):
        if i == after:
            state_of_left, left, rows = parted.pick(state_of_left, stay), left[stay], stay
            if i and name != "momentum":
                assert len(state_of_left["optimizer"].param_groups) == len(stay)
        everything = take(whole, everything, gradient, state)
        left = take(parted, left, gradient[rows], state_of_left, step=STEPS[rows])

    torch.testing.assert_close(left, everything[stay])


def test_parameters_that_a_constraint_has_changed_are_taken_over() -> None:
    optimizer = as_optimizer(torch.optim.SGD)
    start = torch.zeros(3, 4, 5)
    state = optimizer.start(start)
    take(optimizer, start, torch.ones(3, 4, 5), state)
    moved = take(optimizer, start + 5.0, torch.ones(3, 4, 5), state)
    torch.testing.assert_close(moved, 5.0 + STEPS[:3].expand(3, 4, 5))


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (torch.optim.LBFGS, "LBFGS cannot dream"),
        (torch.optim.SparseAdam, "SparseAdam cannot dream .*dense gradients"),
        (functools.partial(torch.optim.SGD, nesterov=True), "SGD cannot dream .Nesterov momentum"),
        (functools.partial(torch.optim.Adam, beta=0.9), "Adam cannot dream .*keyword argument 'be"),  # type: ignore
    ],
)
def test_what_cannot_step_is_refused(factory, reason, items) -> None:
    with pytest.raises(InputError, match=rf"optimizer {reason}.*; expected one that needs no clo"):
        step(as_optimizer(factory), torch.ones(items, 4, 5))


# From what a user gives --------------------------------------------------------------------------


def test_a_function_from_gradient_to_direction_is_an_optimizer() -> None:
    optimizer = as_optimizer(torch.sign)
    assert isinstance(optimizer, FromFunction)
    torch.testing.assert_close(step(optimizer), STEPS[:3] * GRADIENT.sign())
    assert repr(optimizer) == "sign"


def test_an_optimizer_is_taken_as_it_is() -> None:
    given = NormalizedAscent()
    assert as_optimizer(given) is given
    assert isinstance(as_optimizer(torch.optim.Adam), TorchOptimizer)
    assert isinstance(as_optimizer(functools.partial(torch.optim.SGD, lr=1.0)), TorchOptimizer)


@pytest.mark.parametrize("given", [3, "adam", None, torch.optim.SGD([torch.zeros(1)], lr=1.0)])
def test_what_is_no_optimizer_is_refused(given) -> None:
    with pytest.raises(InputError, match=r"(?s)optimizer=.*; expected an irdream optimizer, a cl"):
        as_optimizer(given)


# Sized by what is missing ----------------------------------------------------------------------


def plain_margin_step(**changes) -> MarginStep:
    """Return one without additions: DeepFool's step."""
    return MarginStep(**{"pull": 0.0, "least_gain": 1.0, **changes})


def test_a_margin_step_ends_where_a_straight_objective_is_at_its_goal() -> None:
    generator = torch.Generator().manual_seed(3)
    slope = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    score = torch.tensor([-2.0, -0.5, -0.11], dtype=torch.float64)
    known = {"score": score, "goal": -0.1, "step": torch.full((3, 1, 1), 100.0)}
    for optimizer in (plain_margin_step(), MarginStep()):
        for scale in (1e-12, 1.0, 1e6):
            moved = step(optimizer, scale * slope, **{**known, "score": scale * score - 0.1})
            reached = scale * score - 0.1 + (scale * slope * moved).sum(dim=(1, 2))
            expected = torch.full((3,), -0.1, dtype=torch.float64)
            torch.testing.assert_close(reached, expected, atol=1e-9 * scale, rtol=1e-9)


def test_the_step_size_is_the_longest_margin_step() -> None:
    slope = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(3))
    moved = step(plain_margin_step(), slope, score=torch.full((3,), -1e4))
    torch.testing.assert_close(SIZES["rms"](moved), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(moved, STEPS[:3] * normalized(slope))


def test_an_item_of_which_the_promise_did_not_come_is_promised_less() -> None:
    optimizer, slope = MarginStep(pull=0.0), torch.ones(1, 4, 5)
    state = optimizer.start(slope)
    known = {"score": torch.tensor([-2.0]), "goal": 0.0, "step": torch.full((1, 1, 1), 100.0)}
    first = take(optimizer, torch.zeros(1, 4, 5), slope, state, **known)
    assert float((slope * first).sum()) == pytest.approx(2.0)
    known["score"] = torch.tensor([-1.0])  # half of what was promised
    second = take(optimizer, first, slope, state, **known)
    assert float((slope * (second - first)).sum()) == pytest.approx(1.0 / 0.5)


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        (NormalizedAscent, {"norm": "max"}, r"norm=max; expected rms or mean_abs or sign or none"),
        (NormalizedAscent, {"momentum": 1.0}, r"momentum=1.0; expected a number, at least 0 below"),
        (NormalizedAscent, {"momentum": -0.1}, r"momentum=-0.1; expected a number, at least 0 be"),
        (MarginStep, {"overshoot": -1}, r"overshoot=-1; expected a number, at least 0"),
        (MarginStep, {"overshoot": math.nan}, r"overshoot=nan; expected a number, at least 0"),
        (MarginStep, {"pull": 1.5}, r"pull=1.5; expected a number from 0 to 1"),
        (MarginStep, {"decay": -0.1}, r"decay=-0.1; expected a number from 0 to 1"),
        (MarginStep, {"least_gain": 0}, r"least_gain=0; expected a number above 0, at most 1"),
        (LeastChange, {"shrink": 1.0}, r"shrink=1.0; expected a number between 0 and 1"),
        (LeastChange, {"turn": 0.0}, r"turn=0.0; expected a number above 0"),
        (LeastChange, {"turn_decay": 0.0}, r"turn_decay=0.0; expected a number above 0, at most"),
        (LeastChange, {"shrink_decay": 2}, r"shrink_decay=2; expected a number above 0, at most"),
        (LeastChange, {"pull": 1.5}, r"pull=1.5; expected a number from 0 to 1"),
    ],
)
def test_values_out_of_range_are_refused(optimizer, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        optimizer(**arguments)
