"""What holds for every network."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream import dream
from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.models import (
    AttentionPooling,
    ConvNeXt,
    Han2016,
    Han2016BatchNorm,
    Han2016Body,
    Light,
    Pons2017Multi,
    Pons2017Single,
    Transfer,
)
from irdream.training.losses import Loss

NARROW = {"channels": [8, 12], "blocks": [1, 1]}
BODY = {"_target_": "irdream.models.Han2016Body"}
MAKE: dict[str, Callable[[], nn.Module]] = {
    "Han2016": Han2016,
    "Han2016BatchNorm": Han2016BatchNorm,
    "Light": lambda: Light(width=4),
    "Pons2017Single": Pons2017Single,
    "Pons2017Multi": Pons2017Multi,
    "ConvNeXt": lambda: ConvNeXt(**NARROW),  # type: ignore[arg-type]
    "AttentionPooling": lambda: AttentionPooling(body=Han2016Body(), hidden=32),
    "Transfer": lambda: Transfer(embedding=Han2016Body(), features=256, frozen=False),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ConvNeXt": NARROW,
    "AttentionPooling": {"body": BODY, "hidden": 32},
    "Light": {"width": 4},
    "Transfer": {"embedding": BODY, "features": 256, "frozen": False},
}
SMALLEST = {"ConvNeXt": (16, 8), "Pons2017Single": (5, 5), "Pons2017Multi": (5, 5)}
every = pytest.mark.parametrize("name", sorted(MAKE))
with_an_output = pytest.mark.parametrize("name", sorted(set(MAKE) - {"Han2016"}))
ANY_LENGTH = ["AttentionPooling", "ConvNeXt", "Han2016", "Han2016BatchNorm", "Light", "Transfer"]


@pytest.fixture(scope="module")
def made() -> dict[str, nn.Module]:
    models = {}
    for name, make in MAKE.items():
        torch.manual_seed(0)
        models[name] = make().eval()
    return models


def windows(batch: int = 2, n_mels: int = 24, frames: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, n_mels, frames, generator=generator) * 2 - 5


@every
def test_logits_of_any_number_of_bands_and_frames(made: dict[str, nn.Module], name: str) -> None:
    sizes = [SMALLEST.get(name, (1, 1)), (24, 17), (33, 44)]
    with torch.no_grad():
        for n_mels, frames in sizes:
            logits = made[name](windows(3, n_mels, frames))
            assert logits.shape == (3, 11)
            assert logits.isfinite().all()
    assert made[name].output == ("sigmoid" if name == "Han2016" else "softmax")


@every
def test_what_is_too_small_is_refused(made: dict[str, nn.Module], name: str) -> None:
    n_mels, frames = SMALLEST.get(name, (1, 1))
    message = rf"log_mel=.* at least {n_mels} mel bands and {frames} frames; take more bands or"
    for size in [(2, n_mels - 1, frames), (2, n_mels, frames - 1), (n_mels, frames)]:
        with pytest.raises(InputError, match=message) as error:
            made[name](torch.zeros(size))
        assert "\n" not in str(error.value)


@every
def test_items_do_not_mix_in_eval_mode(made: dict[str, nn.Module], name: str) -> None:
    batch = windows(3)
    with torch.no_grad():
        alone = torch.cat([made[name](item[None]) for item in batch])
        torch.testing.assert_close(made[name](batch), alone, rtol=1e-4, atol=1e-4)


@every
def test_gradients_in_double_precision_are_those_of_small_changes(
    made: dict[str, nn.Module], name: str
) -> None:
    model = copy.deepcopy(made[name]).double()
    log_mel = windows(1).double().requires_grad_()
    before = log_mel.detach().clone()
    logits = model(log_mel)
    assert logits.dtype == torch.float64
    (gradient,) = torch.autograd.grad(logits[0, 3], log_mel)
    assert torch.equal(log_mel, before)
    assert gradient.any()
    change = 1e-6 * gradient / gradient.norm()
    with torch.no_grad():
        difference = model(log_mel + change)[0, 3] - model(log_mel - change)[0, 3]
    assert difference.item() == pytest.approx(2e-6 * gradient.norm().item(), rel=1e-3)


@every
def test_it_learns(name: str) -> None:
    torch.manual_seed(0)
    model, shown, labels = MAKE[name](), windows(4), torch.arange(4)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)

    def loss() -> Tensor:
        return F.cross_entropy(model(shown), labels)

    with torch.no_grad():
        before = loss()
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
        optimizer.step()
    with torch.no_grad():
        assert loss() < 0.9 * before


@every
def test_a_dream_raises_the_score(made: dict[str, nn.Module], name: str) -> None:
    settings = {"step_size": 1.0, "steps": 4, "confidence": None, "progress": False}
    dreams = dream(made[name], windows(), 3, **settings)  # type: ignore[arg-type]
    assert (dreams.after.probabilities[:, 3] > dreams.before.probabilities[:, 3]).all()


@every
def test_a_checkpoint_comes_back_bit_for_bit(
    name: str, tmp_path: Path, tiny_frontend: dict[str, Any]
) -> None:
    spec = {"_target_": f"irdream.models.{name}", **ARGUMENTS.get(name, {})}
    torch.manual_seed(0)
    recognizer = new_recognizer(frontend=tiny_frontend | {"n_mels": 24}, model=spec)
    recognizer.model(windows())  # batch norm takes averages
    save_recognizer(recognizer.eval(), tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.spec["model"] == spec
    with torch.no_grad():
        log_mel = windows(frames=40)
        assert torch.equal(loaded.window_logits(log_mel), recognizer.window_logits(log_mel))


# Softmax or sigmoids


@with_an_output
def test_sigmoids_are_kept_with_the_checkpoint_and_used(
    name: str, tmp_path: Path, tiny_frontend: dict[str, Any]
) -> None:
    spec = {"_target_": f"irdream.models.{name}", **ARGUMENTS.get(name, {}), "output": "sigmoid"}
    torch.manual_seed(0)
    recognizer = new_recognizer(frontend=tiny_frontend | {"n_mels": 24}, model=spec).eval()
    Loss("binary").check(recognizer)
    save_recognizer(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.output == loaded.model.output == "sigmoid"
    with torch.no_grad():
        logits = loaded.logits(windows())
    torch.testing.assert_close(loaded.scores(logits), logits.sigmoid())
    shares = logits.sigmoid() / logits.sigmoid().sum(1, keepdim=True)
    dreams = dream(loaded.model, windows(), 3, step_size=1.0, steps=1, progress=False)
    torch.testing.assert_close(torch.as_tensor(dreams.before.probabilities), shares)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Han2016", lambda into, out: (2 / (into + out)) ** 0.5),  # Glorot and Bengio
        ("Pons2017Multi", lambda into, out: (2 / into) ** 0.5),  # He
        ("ConvNeXt", lambda into, out: 0.02 * 0.999),
    ],
)
def test_weights_start_as_their_paper_says(name: str, expected) -> None:
    torch.manual_seed(0)
    layers = [one for one in MAKE[name]().modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    for layer in (one for one in layers if one.weight.numel() > 500):
        assert layer.bias is not None
        assert not layer.bias.any()
        into = layer.weight[0].numel()
        out = into * layer.weight.shape[0] / layer.weight.shape[1]
        assert layer.weight.std().item() == pytest.approx(expected(into, out), rel=0.1)


# Any length


def test_which_score_whole_excerpts(made: dict[str, nn.Module]) -> None:
    found = [name for name in sorted(made) if getattr(made[name], "any_length", False)]
    assert found == ANY_LENGTH
    for around in (
        AttentionPooling(body=nn.Identity(), channels=24),
        Transfer(embedding=nn.Flatten(), features=408),
    ):
        assert not around.any_length  # what they stand on does not say so


@pytest.mark.parametrize("name", ANY_LENGTH)
def test_a_repeated_sound_keeps_its_logits(made: dict[str, nn.Module], name: str) -> None:
    """A pattern of 27 frames, one of the maps: what a mean has of its ends falls to half."""
    pattern = windows(2, 24, 27)
    with torch.no_grad():
        logits = [made[name](pattern.repeat(1, 1, times)) for times in (16, 32, 64)]
    assert all(found.isfinite().all() for found in logits)
    first, second = ((b - a).abs().max().item() for a, b in itertools.pairwise(logits))
    assert first < (1e-5 if name.startswith("Han") else 0.05)
    assert second < 0.7 * first + 1e-5
