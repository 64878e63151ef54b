"""Statistics of MFCCs, and what holds for all models that are fitted to them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import safetensors.torch
import scipy.fft
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.models import MfccForest, MfccSvm
from irdream.models.mfcc import MfccModel, mfcc, prior_log_odds, statistics_of
from irdream.recognizer import load_recognizer, new_recognizer, save_recognizer

SMALL = {"coefficients": 8}
SETTINGS: dict[type[MfccModel], dict[str, int]] = {MfccSvm: SMALL, MfccForest: SMALL | {"trees": 9}}
both = pytest.mark.parametrize("kind", [MfccSvm, MfccForest])


def log_mels(batch: int = 2, n_mels: int = 24, frames: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, n_mels, frames, generator=generator) * 2 - 5


def music(windows: int = 90) -> tuple[Tensor, Tensor, list[str]]:
    """Windows of three instruments, one louder below than the other; three of each recording."""
    sounds, labels = log_mels(windows), torch.zeros(windows, 11)
    recordings = [str(i // 3) for i in range(windows)]
    which = torch.tensor([int(name) % 3 for name in recordings])
    labels[torch.arange(windows), which] = 1.0
    sounds[:, :6] += 1.5 * which[:, None, None]
    return sounds, labels, recordings


def fitted(kind: type[MfccModel], **settings: Any) -> MfccModel:
    model = kind(**{**SETTINGS[kind], **settings})
    sounds, labels, recordings = music()
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    return model.eval()


def test_mfccs_are_those_of_scipy_and_librosa() -> None:
    sounds = log_mels(n_mels=128, frames=43)
    found = mfcc(sounds, 20).numpy()
    exact = np.asarray(scipy.fft.dct(sounds.double().numpy(), type=2, axis=1, norm="ortho"))
    np.testing.assert_allclose(found, exact[:, :20], atol=1e-4)  # of values up to 60
    theirs = librosa.feature.mfcc(S=sounds[0].numpy(), n_mfcc=20)
    np.testing.assert_allclose(found[0], theirs, atol=1e-4)


def test_statistics_of_a_line_and_of_silence() -> None:
    line = torch.tensor([[[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 2.0, 2.0]]]).requires_grad_()
    found = statistics_of(line)
    expected = [4.0, 2.0, 5**0.5, 0.0, 2.0, 0.0, 0.0, 0.0]
    assert found[0].tolist() == pytest.approx(expected, abs=2e-3)
    (gradient,) = torch.autograd.grad(found.sum(), line)
    assert gradient.isfinite().all()


@both
def test_it_says_nothing_before_it_is_fitted_and_refuses_what_is_too_small(
    kind: type[MfccModel],
) -> None:
    model = kind(**SMALL).eval()
    assert torch.equal(model(log_mels(3)), torch.zeros(3, 11))
    assert torch.equal(model(log_mels(2, 8, 2)), torch.zeros(2, 11))
    for size in ((2, 7, 17), (2, 24, 1), (24, 17)):
        with pytest.raises(InputError, match="at least 8 mel bands and 2 frames"):
            model(torch.zeros(size))


@both
def test_it_hears_what_it_was_fitted_to(kind: type[MfccModel]) -> None:
    model = fitted(kind)
    sounds, labels, _ = music()
    with torch.no_grad():
        logits = model(sounds)
        alone = torch.cat([model(sound[None]) for sound in sounds[:4]])
        double = kind(**SETTINGS[kind]).double()
        double.load_state_dict(model.state_dict())
        assert double(sounds.double()).dtype == torch.float64
    torch.testing.assert_close(logits[:4], alone, rtol=1e-4, atol=1e-4)
    assert (logits.argmax(1) == labels.argmax(1)).float().mean() > 0.95
    assert logits.isfinite().all()
    assert (logits[:, 3:].sigmoid() < 0.06).all()  # what was never there


@both
def test_full_precision_under_autocast(kind: type[MfccModel]) -> None:
    model, sounds = fitted(kind), log_mels()
    with torch.no_grad():
        expected = model(sounds)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model(sounds), expected)


@both
def test_the_same_seed_gives_the_same_fit(kind: type[MfccModel]) -> None:
    one, again = fitted(kind).state_dict(), fitted(kind).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)


@both
def test_several_instruments_at_once(kind: type[MfccModel]) -> None:
    model = kind(**SETTINGS[kind])
    sounds, _, recordings = music()
    labels = torch.zeros(len(sounds), 11)
    which = torch.tensor([int(name) % 3 for name in recordings])
    labels[which == 0, 2] = 1.0
    labels[which == 1, 5] = 1.0
    labels[which == 2, 2] = labels[which == 2, 5] = 0.5  # shares of a mixture
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    with torch.no_grad():
        heard = model(sounds).sigmoid() > 0.5
    assert (heard[which == 2][:, [2, 5]].float().mean(0) > 0.9).all()
    assert heard[which == 0][:, 5].float().mean() < 0.1


@both
def test_a_checkpoint_comes_back_bit_for_bit_without_scikit_learn(
    kind: type[MfccModel], tmp_path: Path, tiny_frontend: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    spec = {"_target_": f"irdream.models.{kind.__name__}", **SETTINGS[kind]}
    recognizer = new_recognizer(frontend=tiny_frontend | {"n_mels": 24}, model=spec)
    recognizer.model.load_state_dict(fitted(kind).state_dict())
    save_recognizer(recognizer.eval(), tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    loaded = load_recognizer(tmp_path)
    assert loaded.spec["model"] == spec
    assert loaded.output == "sigmoid"
    with torch.no_grad():
        sounds = log_mels(frames=40)
        assert torch.equal(loaded.window_logits(sounds), recognizer.window_logits(sounds))


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        (MfccSvm, "support_vectors", lambda x: x[:, 1:], "do not fit .*MfccSvm: .*support_vectors"),
        (MfccSvm, "weights", lambda x: x[1:], r"MfccSvm: \d+ support vectors with \d+ weights"),
        (MfccSvm, "offset", lambda x: x[:3], r"MfccSvm: \d+ support vectors with"),
        (MfccForest, "left", lambda x: x[1:], "MfccForest: its arrays of nodes are not of one len"),
        (MfccForest, "left", lambda x: x * 0, "MfccForest: its nodes do not make trees"),
        (MfccForest, "right", lambda x: x * 0 - 10**6, "its nodes do not make trees"),
        (MfccForest, "split_features", lambda x: x + 40, "its nodes do not make trees"),
        (MfccForest, "roots", lambda x: x[:0], "its nodes do not make trees"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    kind: type[MfccModel], name: str, change: Any, message: str, tmp_path: Path,
    tiny_frontend: dict[str, Any],
) -> None:  # fmt: skip
    spec = {"_target_": f"irdream.models.{kind.__name__}", **SETTINGS[kind]}
    recognizer = new_recognizer(frontend=tiny_frontend, model=spec)
    recognizer.model.load_state_dict(fitted(kind).state_dict())
    save_recognizer(recognizer, tmp_path)
    weights = {**recognizer.model.state_dict()}
    weights[name] = change(weights[name]).contiguous()
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=message) as error:
        load_recognizer(tmp_path)
    assert "\n" not in str(error.value)


@both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficients": 0}, r"model.coefficients=0; expected 1 or more"),
        ({"max_windows": 0}, r"model.max_windows=0; expected 1 or more"),
    ],
)
def test_bad_settings(kind: type[MfccModel], settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**settings)


@both
def test_what_cannot_be_fitted(kind: type[MfccModel]) -> None:
    model = kind(**SETTINGS[kind])
    statistics, labels = torch.zeros(3, 32), torch.zeros(3, 11)
    for windows, recordings in ((3, ["a"]), (0, [])):
        message = rf"{windows} windows, {windows} labels and \d recordings to fit; expected as many"
        with pytest.raises(InputError, match=message):
            model.fit(statistics[:windows], labels[:windows], recordings, 0)
    with pytest.raises(InputError, match="windows to fit have values that are not finite"):
        model.fit(statistics / 0, labels, ["a", "b", "c"], 0)


@both
def test_a_single_window_is_fitted_by_its_labels(kind: type[MfccModel]) -> None:
    model, labels = kind(**SETTINGS[kind]), torch.zeros(1, 11)
    labels[0, 4] = 1.0
    model.fit(model.statistics(log_mels(1)), labels, ["a"], seed=0)
    with torch.no_grad():
        assert int(model(log_mels(1)).argmax()) == 4


def test_log_odds_of_what_is_always_or_never_there() -> None:
    present = np.array([[1, 0, 1], [1, 0, 0]], dtype=bool)
    np.testing.assert_allclose(prior_log_odds(present), [np.log(3), -np.log(3), 0.0])
