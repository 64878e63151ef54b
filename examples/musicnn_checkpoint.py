"""Make a checkpoint of musicnn, a network that tags music, from the package on PyPI.

    pip download --no-deps musicnn
    python examples/musicnn_checkpoint.py musicnn-0.1.0-py3-none-any.whl my/musicnn
    python main.py task=dream target=flute checkpoint=my/musicnn

A third word takes another of its networks: MTT_vgg, MSD_musicnn or MSD_vgg.
"""

from __future__ import annotations

import sys

import irdream
from irdream.frontends import HanLogMel
from irdream.models.musicnn import read


def main(wheel: str, folder: str, name: str = "MTT_musicnn") -> None:
    """Read the network `name` of the wheel or of the folder musicnn, and write a checkpoint."""
    network, tags = read(wheel, name)
    frontend = HanLogMel(sample_rate_hz=16_000, n_fft=512, hop_samples=256, n_mels=96, power=2)
    card = {
        "made_of": f"{name} of the package musicnn 0.1.0 (ISC)",
        "by": "J. Pons, X. Serra, 2019",
    }
    recognizer = irdream.Recognizer(
        frontend=frontend, model=network, instruments=tags, window_seconds=3.0, card=card
    )
    irdream.save(recognizer, folder)
    print(f"{folder}: {name}, {len(tags)} tags")


if __name__ == "__main__":
    main(*sys.argv[1:])
