import math
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.audio.stft import DB_PER_NATURAL
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.training.losses import ForwardPass, Loss, Method, Robust, perturb, robust


class Net(nn.Module):
    """Batch norm and dropout, which show in which mode it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.out = nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 11)
        self.modes: list[bool] = []
        self.largest: list[float] = []

    def forward(self, log_mel: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.largest.append(log_mel.detach().abs().max().item())
        return self.out(self.drop(self.norm(log_mel.mean(2))))


@pytest.fixture
def forward_pass() -> ForwardPass:
    torch.manual_seed(0)
    recognizer = Recognizer(frontend=HanLogMel(n_mels=12), model=Net()).train()
    recognizer.channel_axis = False  # so that no pass is made to find out
    return ForwardPass(recognizer)


WINDOWS = torch.zeros(6, 12, 5)
LABELS = torch.eye(11)[:6]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def back(forward_pass: ForwardPass, made: Robust, windows: Tensor = WINDOWS) -> list[Tensor]:
    """Do what the loop does, without steps of an optimizer."""
    losses = []
    for loss in made.losses(forward_pass, windows, LABELS[: len(windows)], generator()):
        loss.backward()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize(
    ("method", "seeking", "stepping"),
    [("fgsm", 1, 1), ("pgd", 4, 1), ("free", 0, 4), ("trades", 5, 2)],
)
def test_passes_of_a_step_and_their_modes(forward_pass, method, seeking, stepping) -> None:
    """Changes are sought in eval mode; weights are stepped in training mode."""
    before = forward_pass.recognizer.model.norm.running_mean.clone()
    losses = back(forward_pass, Robust(method, epsilon_db=DB_PER_NATURAL * 0.5))
    assert forward_pass.recognizer.model.modes == [False] * seeking + [True] * stepping
    assert len(losses) == (4 if method == "free" else 1)
    assert forward_pass.recognizer.training
    largest = max(forward_pass.recognizer.model.largest)
    assert largest == pytest.approx(0.5)  # epsilon, in natural units
    counted = forward_pass.recognizer.model.norm.num_batches_tracked
    assert counted == stepping
    assert not torch.equal(before, forward_pass.recognizer.model.norm.running_mean)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("kind", ["categorical", "binary"])
def test_an_adversarial_batch_costs_more_than_a_random_one(forward_pass, method, kind) -> None:
    forward_pass.terms = Loss(kind)
    forward_pass.recognizer.output = "sigmoid" if kind == "binary" else "softmax"
    forward_pass.recognizer.model.drop.p = 0.0
    [*_, loss] = back(forward_pass, Robust(method, epsilon_db=3.0))
    noise = (torch.rand(WINDOWS.shape, generator=generator()) * 2 - 1) * 3.0 / DB_PER_NATURAL
    with torch.no_grad():
        random = forward_pass.loss(forward_pass.logits(WINDOWS + noise), LABELS)
        clean = forward_pass.loss(forward_pass.logits(WINDOWS), LABELS)
    assert loss > max(random, clean)


@pytest.mark.parametrize("method", ["fgsm", "pgd", "trades"])
def test_sigmoids_near_one_are_attacked_as_a_softmax_is(forward_pass, method) -> None:
    """What is sought follows the logits; the loss that is made small is that of the sigmoids."""
    found: list[list[Tensor]] = []
    forward_pass.recognizer.model.drop.p = 0.0
    forward_pass.recognizer.model.register_forward_pre_hook(
        lambda _, args: found[-1].append(args[0])
    )
    windows, losses = torch.randn(WINDOWS.shape, generator=generator()), []
    for output, offset in (("softmax", 0.0), ("sigmoid", 12.0)):
        forward_pass.recognizer.output = output
        found.append([])
        with torch.no_grad():
            forward_pass.recognizer.model.norm.reset_running_stats()
            forward_pass.recognizer.model.out.bias.add_(offset)
        made = Robust(method, epsilon_db=3.0)
        losses += back(forward_pass, made, windows)
        found[-1].append(made.adversarial(forward_pass, windows, LABELS))
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().le(1e-5).float().mean() > 0.95  # some gradients are near 0
    assert forward_pass.recognizer.output == "sigmoid"
    assert abs(losses[0] - losses[1]) > 0.01


def test_steps_reach_every_change_and_rise_by_the_sign_of_the_gradient() -> None:
    seen: list[float] = []

    def objective(windows: Tensor) -> Tensor:
        seen.append(windows[0, -1, 0].item())
        return (windows * torch.linspace(-1, 1, 12)[:, None]).sum()

    sign = torch.linspace(-1, 1, 12).sign()[:, None].expand_as(WINDOWS)
    changed = perturb(objective, WINDOWS, start=-0.2 * sign, epsilon=0.2, steps=4)
    assert seen == pytest.approx([-0.2, -0.075, 0.05, 0.175])
    torch.testing.assert_close(changed, 0.2 * sign)
    changed = perturb(objective, WINDOWS, start=-0.2 * sign, epsilon=0.2, steps=1)
    torch.testing.assert_close(changed, 0.05 * sign)
    none = perturb(objective, WINDOWS, start=9 * sign, epsilon=0.2, steps=0)
    assert none.max().item() == pytest.approx(0.2)


def test_the_change_grows_over_the_first_epochs(forward_pass) -> None:
    def sizes_db(ramp_epochs: int, epochs: int) -> list[float]:
        made, sizes = Robust("fgsm", epsilon_db=2.0, ramp_epochs=ramp_epochs), []
        for epoch in range(1, epochs + 1):
            made.begin_epoch(epoch)
            back(forward_pass, made)
            sizes.append(forward_pass.recognizer.model.largest[-1] * DB_PER_NATURAL)
        return sizes

    assert sizes_db(4, 6) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0], rel=0.01)
    assert sizes_db(0, 1) == pytest.approx([2.0], rel=0.01)
    assert math.exp(1 / DB_PER_NATURAL) == pytest.approx(10 ** (1 / 20))


def test_free_keeps_its_change_also_over_a_smaller_batch(forward_pass) -> None:
    made = Robust("free", epsilon_db=1.0, steps=2)
    made.begin_epoch(1)
    back(forward_pass, made)
    first = made._change
    assert first is not None
    back(forward_pass, made, WINDOWS[:2])
    second = made._change
    assert second is not None
    assert torch.equal(second[2:], first[2:])
    assert not torch.equal(second[:2], first[:2])
    made.begin_epoch(2)
    assert made._change is None  # each epoch follows from its seed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pgdd"}, "method=pgdd; expected fgsm or free or pgd or trades"),
        ({"epsilon_db": 0.0}, "epsilon_db=0.0; expected a number above 0"),
        ({"weight": math.nan}, "weight=nan; expected a number above 0"),
        ({"steps": 0}, "steps=0; expected a whole number, at least 1"),
        ({"ramp_epochs": -1}, "ramp_epochs=-1; expected a whole number, at least 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        robust(**{"method": "fgsm", **settings})
    assert robust(None, epsilon_db=1.0) is None


# Losses


LOGITS = torch.tensor([[2.0, -1.0, 0.5, *[0.0] * 8], [0.0, 3.0, -2.0, *[1.0] * 8]])
SHARES = torch.tensor([[1.0, *[0.0] * 10], [0.8, 0.2, *[0.0] * 9]])


def recognizer(output: Any = "softmax") -> Recognizer:
    return Recognizer(frontend=HanLogMel(n_mels=12), model=nn.Identity(), output=output)


def test_label_smoothing_is_torchs() -> None:
    loss = Loss("categorical", 0.1)
    expected = F.cross_entropy(LOGITS, SHARES, label_smoothing=0.1, reduction="none")
    smooth = loss(recognizer(), LOGITS, SHARES, smooth=True).sum(1)
    torch.testing.assert_close(smooth, expected)
    plain = F.cross_entropy(LOGITS, SHARES, reduction="none")
    torch.testing.assert_close(loss(recognizer(), LOGITS, SHARES).sum(1), plain)  # validation


def test_binary_takes_all_that_has_a_share_as_present() -> None:
    heard, loss = recognizer("sigmoid"), Loss("binary", 0.2)
    loss.check(heard)
    p = LOGITS.sigmoid()
    present = (SHARES > 0).float()
    expected = -(present * p.log() + (1 - present) * (1 - p).log())
    torch.testing.assert_close(loss(heard, LOGITS, SHARES), expected)
    smooth = -((present * 0.8 + 0.1) * p.log() + (0.9 - present * 0.8) * (1 - p).log())
    torch.testing.assert_close(loss(heard, LOGITS, SHARES, smooth=True), smooth)


def test_a_binary_loss_needs_sigmoids() -> None:
    Loss().check(recognizer())
    message = r"train.loss=binary needs sigmoids, and Identity has a softmax; give model.output=sig"
    with pytest.raises(InputError, match=message):
        Loss("binary").check(recognizer())


@pytest.mark.parametrize("kind", ["categorical", "binary"])
def test_a_divergence_is_zero_from_itself_and_above_elsewhere(kind) -> None:
    heard, loss, other = recognizer(), Loss(kind), LOGITS.flip(1)
    assert loss.divergence(heard, LOGITS, LOGITS).abs().max() < 1e-6
    apart = loss.divergence(heard, LOGITS, other).sum(1)
    assert (apart > 0.1).all()
    if kind == "categorical":
        ours = F.kl_div(other.log_softmax(1), LOGITS.softmax(1), reduction="none").sum(1)
        torch.testing.assert_close(apart, ours)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hinge"}, "kind=hinge; expected categorical or binary"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0; expected a number from 0 to 0.99"),
    ],
)
def test_bad_losses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Loss(**settings)
