"""OpenMIC-2018: 20,000 clips of 10 s with weak labels (Humphrey, Durand and McFee 2018).

Zenodo record 1432913, licence CC BY 4.0; each clip has the licence of its track in the Free
Music Archive, which openmic-2018-metadata.csv names. Clips are Ogg Vorbis.

    audio/000/000046_3840.ogg               track and start in the sample key, 000046_3840
    openmic-2018-aggregated-labels.csv      see openmic_labels
    partitions/split01_train.csv, _test     14915 and 5085 clips

A label says that an instrument is heard somewhere in the clip, not that it is predominant.
Most instruments of a clip were never asked about; they count as absent, since a label is
all or nothing here. Nine of the twenty instruments are among the eleven; guitar is acoustic
or electric, and no label unless it is mapped to one of them. Clips without a label are left
out: nothing is learned from them, and they are not scored.

A table of predominant instruments (OpenPIR) takes the place of these labels.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from irdream.audio import sounds_below
from irdream.datasets.base import ExcerptFile, Excerpts, PartName
from irdream.datasets.cache import audio_loader
from irdream.datasets.openmic_download import download_openmic
from irdream.datasets.openmic_labels import (
    CODE_OF,
    LABELS_CSV,
    find_tree,
    read_labels,
    read_splits,
)
from irdream.datasets.openmic_predominant import read_predominant
from irdream.datasets.tree import forget
from irdream.errors import InputError
from irdream.instruments import CODES

OFFICIAL: dict[PartName, int] = {"training": 14_915, "test": 5_085}
SOURCE = "Zenodo record 1432913, 2.6 GB to fetch, licence CC BY 4.0"
DOWNLOAD = "python main.py task=prepare dataset=openmic dataset.root=... dataset.download=true"
WEAK = "weak labels: what nobody was asked about counts as absent"

logger = logging.getLogger(__name__)


class OpenMic:
    """The unpacked tree of OpenMIC-2018, whole or partial.

    Args:
        root: the folder of the tree, or one at most two levels above it.
        guitar: what OpenMIC's guitar is called, "gac" or "gel"; None: it is no label.
        relevance: from which an instrument that was asked about is a label, above 0 to 1.
        predominant: a table of predominant instruments; then its clips and labels alone.
        download: let `prepare()` fetch what is missing.
        cache_dir: where decoded audio is kept; None: decode every time.
        name: what the data set is called in tables.

    Raises:
        InputError: for another guitar, or a relevance out of range.
    """

    def __init__(
        self,
        *,
        root: str | Path | None,
        guitar: str | None = None,
        relevance: float = 0.5,
        predominant: str | Path | None = None,
        download: bool = False,
        cache_dir: str | Path | None = None,
        name: str = "openmic",
    ) -> None:
        if guitar not in (None, "gac", "gel"):
            raise InputError(f"dataset.guitar={guitar}; expected gac, gel or null")
        if not isinstance(relevance, int | float) or not 0 < relevance <= 1:
            raise InputError(f"dataset.relevance={relevance}; expected a number above 0, at most 1")
        self.root = None if root is None else Path(root).expanduser()
        self.predominant = None if predominant is None else Path(predominant).expanduser()
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self.codes = CODE_OF | ({} if guitar is None else {"guitar": guitar})
        self.relevance, self.download, self.name = relevance, download, name
        labels = WEAK if self.predominant is None else f"labels of {self.predominant.name}"
        self.about = f"clips of OpenMIC-2018, {labels}"

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return the labelled clips of one part; warnings say what the tree lacks.

        Raises:
            InputError: no root, no such tree in it, a table that cannot be understood.
        """
        loader = audio_loader(self.cache_dir, sample_rate_hz=sample_rate_hz)
        return Excerpts(self._files[name], loader)

    def to_prepare(self) -> str:
        """Say what `prepare` would do; nothing where it was not asked to fetch anything.

        Raises:
            InputError: no root.
        """
        if not self.download:
            return ""
        if self.root is None:
            raise InputError(f"dataset.root is not set; name the folder for {SOURCE}")
        return f"fetches what {str(self.root)!r} lacks of {SOURCE}"

    def prepare(self) -> None:
        """Fetch and unpack what is missing, when `download` was asked for.

        Raises:
            InputError: no root; whatever hinders the download.
        """
        if self.to_prepare() and self.root is not None:
            download_openmic(self.root)
            forget(self)

    def summary(self) -> str:
        """Say in one line what was found."""
        files = self._files
        labels = Counter(code for part in files.values() for file in part for code in file.labels)
        counts = ", ".join(f"{code} {labels[code]}" for code in CODES if labels[code])
        kept = f"{len(files['training'])} and {len(files['test'])} with a label: {counts or 'none'}"
        where = WEAK if self.predominant is None else f"labels of {str(self.predominant)!r}"
        return f"found {self._found_line()} below {self._tree}; {kept}; {where}"

    def _found_line(self) -> str:
        found = {part: sum(key in self._paths for key in self._splits[part]) for part in OFFICIAL}
        return " and ".join(f"{found[part]} of {OFFICIAL[part]} {part} clips" for part in OFFICIAL)

    @cached_property
    def _tree(self) -> Path:
        if self.root is None:
            raise InputError(f"dataset.root is not set; OpenMIC is {SOURCE}; fetch it: {DOWNLOAD}")
        if not self.root.is_dir():
            missing = f"no such folder: dataset.root={str(self.root)!r}"
            raise InputError(f"{missing}; OpenMIC is {SOURCE}; fetch it: {DOWNLOAD}")
        above = [path for path in self.root.resolve().parents if (path / LABELS_CSV).is_file()]
        if above:
            inside = f"dataset.root={str(self.root)!r} lies within OpenMIC"
            raise InputError(f"{inside}; expected dataset.root={above[0]}")
        tree = find_tree(self.root)
        if tree is None:
            lacks = f"no {LABELS_CSV} below {str(self.root)!r}"
            raise InputError(f"{lacks}; OpenMIC is {SOURCE}; fetch it: {DOWNLOAD}")
        return tree

    @cached_property
    def _splits(self) -> dict[PartName, list[str]]:
        return read_splits(self._tree)

    @cached_property
    def _labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each sample key."""
        if self.predominant is None:
            return read_labels(self._tree / LABELS_CSV, self.codes, relevance=self.relevance)
        labels = read_predominant(self.predominant, self.codes)
        if not any(key in labels for keys in self._splits.values() for key in keys):
            nobody = f"none of the {len(labels)} clips of {str(self.predominant)!r} is OpenMIC's"
            raise InputError(f"{nobody}; expected sample keys such as {self._splits['test'][0]}")
        return labels

    @cached_property
    def _paths(self) -> dict[str, Path]:
        """The sound file of each sample key."""
        folder = self._tree / "audio"
        paths = sorted(sounds_below(folder)) if folder.is_dir() else []
        if not paths:
            raise InputError(f"no sound file below {str(folder)!r}; unpack the archive again")
        return {path.stem: path for path in paths}

    @cached_property
    def _files(self) -> dict[PartName, list[ExcerptFile]]:
        self._warn_of_gaps()
        return {part: self._labelled(keys) for part, keys in self._splits.items()}

    def _labelled(self, keys: Collection[str]) -> list[ExcerptFile]:
        return [
            ExcerptFile(
                path=self._paths[key],
                name=key,
                labels=self._labels[key],
                recording=key.partition("_")[0],  # the track
            )
            for key in keys
            if key in self._paths and self._labels.get(key)
        ]

    def _warn_of_gaps(self) -> None:
        listed = [key for keys in self._splits.values() for key in keys]
        wanted = listed if self.predominant is None else [k for k in listed if k in self._labels]
        table = (self.predominant or self._tree / LABELS_CSV).name
        known = set(listed)
        _warn("have no sound file", wanted, self._paths)
        _warn(f"have no row in {table}", wanted, self._labels)
        _warn(f"of {table} are in neither split file", self._labels, known)
        sizes = {part: len(keys) for part, keys in self._splits.items()}
        if sizes != OFFICIAL or len(self._paths) < sum(OFFICIAL.values()):
            logger.warning("not the whole of OpenMIC-2018: %s", self._found_line())


def _warn(
    problem: str, keys: Collection[str], known: Mapping[str, object] | Collection[str]
) -> None:
    if missing := [key for key in keys if key not in known]:
        logger.warning("%d clips %s, such as %s", len(missing), problem, missing[0])
