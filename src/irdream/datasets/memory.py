"""Decoded sounds that the next job of a sweep in this process will want again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from irdream.contents import content_of

Key = tuple[object, ...]
MAX_BYTES = 2**29  # 100 minutes of mono at 22,050 Hz


class Memory:
    """Keeps waveforms by file and settings, the last ones used, up to a size.

    A file whose content has changed since is decoded anew. The waveforms are shared: they must not
    be changed in place.

    Args:
        max_bytes: of all waveforms together; a longer one is not kept.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Return the size of what is kept."""
        return sum(waveform.nbytes for waveform in self._kept.values())

    def __call__(self, path: Path, load: Callable[[Path], Tensor], *settings: object) -> Tensor:
        """Return what `load` made of the file before, or let it do so now.

        Args:
            path: of the file.
            load: decodes it; its errors pass through, and nothing is kept then.
            settings: all that the waveform depends on besides the file.
        """
        try:
            key = (content_of(path), *settings)
        except OSError:
            return load(path)  # which says what is wrong
        if key not in self._kept:
            waveform = load(path)
            if waveform.nbytes > self.max_bytes:
                return waveform
            self._kept[key] = waveform
        self._kept.move_to_end(key)
        while self.bytes > self.max_bytes:
            self._kept.popitem(last=False)
        return self._kept[key]


decoded = Memory()
"""Of this process."""
