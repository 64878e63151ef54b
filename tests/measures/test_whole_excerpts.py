"""Band k is instrument k, and attention follows loud bands: weights set by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.instruments import CODES
from irdream.measures.aggregation import aggregate
from irdream.measures.whole_excerpts import check_any_length, whole_scores
from irdream.models import AttentionPooling, Han2016, Pons2017Multi, Pons2017Single, Transfer
from irdream.recognizer import Recognizer

FLUTE, VOICE = CODES.index("flu"), CODES.index("voi")
WINDOW_FRAMES = 43


class Bands(nn.Module):
    any_length = True

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel[:, :11]


@pytest.fixture
def recognizer() -> Recognizer:
    pooling = AttentionPooling(body=Bands(), channels=11, hidden=11, output="sigmoid")
    for name, scale in (("frame.0", 1.0), ("evidence", 1.0), ("attention", 5.0)):
        layer = pooling.get_submodule(name)
        bias = torch.full((11,), -4.0 if name == "evidence" else 0.0)
        layer.load_state_dict({"weight": scale * torch.eye(11)[:, :, None], "bias": bias})
    return Recognizer(frontend=HanLogMel(), model=pooling).eval()


def log_mel(seconds: int, **heard: tuple[int, int]) -> Tensor:
    """Return silence with instruments from one second to another, (n_mels, frames)."""
    made = torch.zeros(128, seconds * WINDOW_FRAMES)
    for code, (begin, end) in heard.items():
        made[CODES.index(code), begin * WINDOW_FRAMES : end * WINDOW_FRAMES] = 6.0
    return made


def by_windows(recognizer: Recognizer, one: Tensor) -> np.ndarray:
    with torch.no_grad():
        scores = recognizer.scores(recognizer.window_logits(one[None]))[0].numpy()
    return aggregate([scores], "s1")[0]


def test_what_sounds_in_the_last_second_alone_is_heard(recognizer: Recognizer) -> None:
    check_any_length(recognizer)
    one = log_mel(15, flu=(0, 14), voi=(14, 15))
    whole, windows = whole_scores(recognizer, one), by_windows(recognizer, one)
    assert whole[VOICE] == pytest.approx(whole[FLUTE], abs=0.01)
    assert whole[VOICE] > 0.8 > 5 * windows[VOICE]
    assert windows[FLUTE] > 0.8
    absent = [i for i in range(11) if i not in (FLUTE, VOICE)]
    assert whole[absent].max() < 0.05


def test_silence_before_and_after_changes_nothing(recognizer: Recognizer) -> None:
    """Where the body hears one frame at a time and attention leaves silence out."""
    one = log_mel(3, sax=(1, 3))
    alone = whole_scores(recognizer, one)
    for silence in (1, 20):
        around = torch.zeros(128, silence * WINDOW_FRAMES)
        found = whole_scores(recognizer, torch.cat([around, one, around], dim=1))
        np.testing.assert_allclose(found, alone, atol=1e-3)
    longer = torch.cat([one, torch.zeros(128, 20 * WINDOW_FRAMES)], dim=1)
    assert by_windows(recognizer, longer).max() < 0.3 * by_windows(recognizer, one).max()


def test_a_window_is_heard_as_ever(recognizer: Recognizer) -> None:
    one = log_mel(1, org=(0, 1))
    np.testing.assert_allclose(whole_scores(recognizer, one), by_windows(recognizer, one))


def test_no_gradient_is_kept_and_any_length_is_heard() -> None:
    model = Han2016().eval()
    kept = []
    model.register_forward_hook(lambda *_: kept.append(torch.is_grad_enabled()))
    recognizer = Recognizer(frontend=HanLogMel(), model=model)
    for frames in (1, 43, 200):
        scores = whole_scores(recognizer, torch.zeros(128, frames))
        assert scores.shape == (11,)
        assert np.isfinite(scores).all()
    assert kept == [False] * 3


@pytest.mark.parametrize(
    "model",
    [Pons2017Single(), Pons2017Multi(), nn.Flatten(), Transfer(embedding=nn.Flatten(), features=1)],
    ids=lambda model: type(model).__name__,
)
def test_networks_that_hear_windows_of_one_length_say_so(model: nn.Module) -> None:
    message = rf"aggregation=network .* and {type(model).__name__} hears windows of one length; ta"
    with pytest.raises(InputError, match=message) as error:
        check_any_length(Recognizer(frontend=HanLogMel(), model=model))
    assert "\n" not in str(error.value)
