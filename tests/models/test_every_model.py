"""What holds for every network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream import dream
from irdream.errors import InputError
from irdream.models import (
    AttentionPooling,
    ConvNeXt,
    Han2016,
    Han2016BatchNorm,
    Han2016Body,
    Pons2017Multi,
    Pons2017Single,
    Transfer,
)
from irdream.recognizer import load_recognizer, new_recognizer, save_recognizer

NARROW = {"channels": [8, 12], "blocks": [1, 1]}
BODY = {"_target_": "irdream.models.Han2016Body"}
MAKE: dict[str, Callable[[], nn.Module]] = {
    "Han2016": Han2016,
    "Han2016BatchNorm": Han2016BatchNorm,
    "Pons2017Single": Pons2017Single,
    "Pons2017Multi": Pons2017Multi,
    "ConvNeXt": lambda: ConvNeXt(**NARROW),  # type: ignore[arg-type]
    "AttentionPooling": lambda: AttentionPooling(body=Han2016Body(), hidden=32),
    "Transfer": lambda: Transfer(embedding=Han2016Body(), features=256, frozen=False),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ConvNeXt": NARROW,
    "AttentionPooling": {"body": BODY, "hidden": 32},
    "Transfer": {"embedding": BODY, "features": 256, "frozen": False},
}
SMALLEST = {"ConvNeXt": (16, 8), "Pons2017Single": (5, 5), "Pons2017Multi": (5, 5)}
NEW = sorted(set(MAKE) - {"Han2016", "Han2016BatchNorm"})
every = pytest.mark.parametrize("name", sorted(MAKE))


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
    assert made[name].output in ("softmax", "sigmoid")


@pytest.mark.parametrize("name", NEW)
def test_what_is_too_small_is_refused(made: dict[str, nn.Module], name: str) -> None:
    n_mels, frames = SMALLEST.get(name, (1, 1))
    message = rf"log_mel=.* at least {n_mels} mel bands and {frames} frames; take more bands or"
    sizes = [(2, n_mels - 1, frames), (2, n_mels, frames - 1), (n_mels, frames)]
    for size in sizes:
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
def test_it_learns_what_it_is_shown(name: str) -> None:
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
