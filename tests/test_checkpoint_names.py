from pathlib import Path

import pytest
import torch

from irdream import checkpoint
from irdream.checkpoint_folder import load_recognizer
from irdream.checkpoint_names import pitched


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("second@-3", ("second", -3.0)),
        ("models:/drums@champion@+0.5", ("models:/drums@champion", 0.5)),
        ("my/folder@-12", ("my/folder", -12.0)),
        ("second", ("second", 0.0)),
        ("models:/drums@champion", ("models:/drums@champion", 0.0)),
        ("second@3", ("second@3", 0.0)),
        ("second@-13", ("second@-13", 0.0)),
    ],
)
def test_the_pitch_at_which_a_checkpoint_hears(name: str, expected: tuple[str, float]) -> None:
    assert pitched(name) == expected


def test_a_folder_of_that_name_is_itself(tmp_path: Path) -> None:
    (tmp_path / "mine@-3").mkdir()
    assert pitched(f"{tmp_path}/mine@-3") == (f"{tmp_path}/mine@-3", 0.0)


def test_one_alone_takes_sounds_at_another_rate() -> None:
    tone = torch.sin(torch.arange(2 * 44_100) * 2 * torch.pi * 440 / 44_100)
    lower = checkpoint.load(path="robust@-12", device="cpu")
    assert (lower.sample_rate_hz, lower.window_seconds) == (44_100, 0.5)
    assert lower.where == "on cpu"
    plain = load_recognizer("robust")
    torch.testing.assert_close(lower(tone[None]), plain(tone[None]), atol=1e-4, rtol=0)
    with torch.no_grad():
        found = load_recognizer("robust@-12").predict(tone)
    assert found == pytest.approx(plain.predict(tone), abs=1e-4)
