"""The dream is as loud as the original."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.constraints import LoudnessLock


def test_a_sound_keeps_its_root_mean_square(project, ear) -> None:
    held, origin = project(LoudnessLock(), "sound")
    torch.testing.assert_close(held.square().mean(dim=1), origin["waveform"].square().mean(dim=1))
    asked = ear.changed(origin, 2)
    ratio = held / asked
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@pytest.mark.parametrize("kind", ["log_mel", "band_gain", "gain"])
def test_a_plane_keeps_its_energy(project, ear, kind) -> None:
    held, origin = project(LoudnessLock(), kind)
    before = origin["spectrum"].abs() if kind == "gain" else origin["log_mel"].exp()
    after = held.exp() if kind == "log_mel" else before * held.exp()

    torch.testing.assert_close(after.square().sum(dim=(1, 2)), before.square().sum(dim=(1, 2)))
    gain = held - ear.changed(origin, 2)
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain))
    assert (gain.abs() > 0.01).all()


def test_what_has_the_level_already_is_left_bit_for_bit(ear) -> None:
    for kind in ("sound", "log_mel", "gain"):
        origin = ear.prepared(LoudnessLock(), kind, ear.sounds(4, 900, seed=1))
        assert torch.equal(LoudnessLock()(origin["signal"], origin), origin["signal"])
