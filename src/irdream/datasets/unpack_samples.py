"""The samples of an .sf3 file, which are Ogg Vorbis, as those of an .sf2 file.

symusic 0.5.8 decodes such samples anew for each synthesizer and never frees them: 20 MB for an
excerpt. In an .sf3 file a sample's start and end are bytes of the chunk `smpl`, each sample a
stream of its own, and its loop is counted from its start; in an .sf2 file all are places in 16-bit
samples, and 46 or more zeros follow each sample (SoundFont 2.04, sections 6.1 and 7.10).
"""

from __future__ import annotations

import io

import numpy as np
import soundfile

COMPRESSED = 0x10  # the bit of a sample's kind
_GUARD = np.zeros(46, dtype="<i2")


def unpacked(shdr: np.ndarray, smpl: bytes) -> tuple[np.ndarray, bytes]:
    """Return sample headers and chunk with every compressed sample decoded.

    Args:
        shdr: headers with `span` (start, end, start and end of the loop) and `kind`, changed in
            place; the last one, which ends the list, is left alone.
        smpl: the chunk of the samples.

    Raises:
        ValueError: when a sample is no sound.
    """
    compressed = np.flatnonzero(shdr["kind"][:-1] & COMPRESSED)
    others_stay = len(compressed) < len(shdr) - 1
    sounds, places = [np.frombuffer(smpl, "<i2", len(smpl) // 2)] if others_stay else [], {}
    at = sum(map(len, sounds))
    for i in compressed:
        start, end, *loop = shdr["span"][i].tolist()
        if (start, end) not in places:
            sound = _decoded(smpl[start:end])
            places[start, end] = at, len(sound)
            sounds += [sound, _GUARD]
            at += len(sound) + len(_GUARD)
        first, samples = places[start, end]
        shdr["span"][i] = [first, first + samples, *(first + min(x, samples) for x in loop)]
    shdr["kind"][compressed] &= ~np.uint16(COMPRESSED)
    return shdr, np.concatenate(sounds).tobytes()


def _decoded(stream: bytes) -> np.ndarray:
    try:
        sound, _ = soundfile.read(io.BytesIO(stream), dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"a compressed sample cannot be decoded: {error}") from error
    return sound[:, 0].astype("<i2")
