from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.models import AttentionPooling, Han2016, Han2016BatchNorm, Han2016Body


class Bands(nn.Module):
    """Each band is a channel, each frame one of the maps."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel


def test_an_instrument_in_one_frame_is_not_averaged_away() -> None:
    """With weights set by hand: band k is instrument k, and loud bands count."""
    pooling = AttentionPooling(body=Bands(), channels=3, hidden=3, instruments=3).eval()
    for name, scale in (("frame.0", 1.0), ("evidence", 1.0), ("attention", 5.0)):
        layer = pooling.get_submodule(name)
        layer.load_state_dict({"weight": scale * torch.eye(3)[:, :, None], "bias": torch.zeros(3)})
    log_mel = torch.zeros(1, 3, 40)
    log_mel[0, 0, 7] = 4.0
    log_mel[0, 1, 30] = 4.0
    with torch.no_grad():
        assert pooling(log_mel)[0].tolist() == pytest.approx([4.0, 4.0, 0.0], abs=0.01)


@pytest.mark.parametrize("whole", [Han2016(), Han2016BatchNorm()], ids=lambda m: type(m).__name__)
def test_the_body_is_hans(whole: nn.Module) -> None:
    body = Han2016Body(batch_norm=isinstance(whole, Han2016BatchNorm)).eval()
    wanted = body.state_dict()
    body.load_state_dict({key: whole.state_dict()[key] for key in wanted})
    assert set(whole.state_dict()) - set(wanted) == {
        f"classifier.{i}.{part}" for i in (0, 3) for part in ("weight", "bias")
    }
    log_mel = torch.randn(1, 24, 17)
    with torch.no_grad():
        pooled = whole.eval().get_submodule("features")(log_mel[:, None])
        assert torch.equal(body(log_mel).amax((2, 3)), pooled)


def test_a_window_may_be_as_long_as_an_excerpt(
    tmp_path: Path, tiny_frontend: dict[str, Any]
) -> None:
    body = {"_target_": "irdream.models.Han2016Body"}
    model = {"_target_": "irdream.models.AttentionPooling", "body": body}
    made = new_recognizer(frontend=tiny_frontend, model=model, window_seconds=3.0)
    save_recognizer(made, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.window_frames == 75
    with torch.no_grad():
        log_mel = loaded.log_mel(torch.randn(1, 3000))
        assert loaded.window_logits(log_mel).shape == (1, 1, 11)


@pytest.mark.parametrize(
    ("body", "channels", "message"),
    [
        (Bands(), 7, r"Bands gave \(1, 6, 4\) .* expected \(batch, 7, mels, frames\): set model"),
        (nn.Flatten(), 24, r"Flatten gave \(1, 24\) for a log-mel \(1, 6, 4\); expected"),
        (nn.ZeroPad1d((-4, 0)), 6, r"gave \(1, 6, 0\) .* or give longer windows"),
        ("Han2016Body", 256, r"body='Han2016Body'; expected a torch.nn.Module; in a yaml give"),
    ],
    ids=["channels", "axes", "no frame", "no network"],
)
def test_what_cannot_be_pooled(body: Any, channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AttentionPooling(body=body, channels=channels)(torch.zeros(1, 6, 4))
