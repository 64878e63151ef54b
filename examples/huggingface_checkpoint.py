"""Make a checkpoint of an audio classifier of Hugging Face's transformers (extra `hf`).

    pip install transformers
    python examples/huggingface_checkpoint.py MIT/ast-finetuned-audioset-10-10-0.4593 my/ast 3
    python main.py task=dream target=Flute checkpoint=my/ast

The first word is a name on the hub, or a folder that `save_pretrained` wrote; the third the seconds
that the network gets at once.
"""

from __future__ import annotations

import sys

import irdream
from irdream.frontends import Waveform
from irdream.models.huggingface import read


def main(name: str, folder: str, seconds: str = "3") -> None:
    """Read a classifier and write a checkpoint."""
    network = read(name)
    recognizer = irdream.Recognizer(
        frontend=Waveform(sample_rate_hz=network.sample_rate_hz),
        model=network,
        instruments=network.labels,
        window_seconds=float(seconds),
        card={"made_of": name},
        spec={"model": network.spec},
    )
    irdream.save(recognizer, folder)
    print(f"{folder}: {len(network.labels)} labels")


if __name__ == "__main__":
    main(*sys.argv[1:])
