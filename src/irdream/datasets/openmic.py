"""OpenMIC-2018: 20,000 clips of 10 s with weak labels (Humphrey, Durand and McFee 2018).

Zenodo record 1432913, licence CC BY 4.0; each clip has the licence of its track in the Free
Music Archive, which openmic-2018-metadata.csv names. Clips are Ogg Vorbis.

    audio/000/000046_3840.ogg               track and start in the sample key, 000046_3840
    openmic-2018-aggregated-labels.csv      sample_key,instrument,relevance,num_responses
    partitions/split01_train.csv, _test     14915 and 5085 sample keys, one a line, no header

A label says that an instrument sounds somewhere in the clip, not that it is predominant. Most
instruments of a clip were never asked about and have no row; they count as absent. Clips without a
label are left out. There are twenty labels; the nine that are among IRMAS' eleven have their codes.
Guitar, which is acoustic or electric, is one of IRMAS' only where it is mapped to it.

A table of predominant instruments may take the place of these labels, with the columns sample_key
and label (several: separated by `;`, or in several rows). OpenPIR (Cochran, Lee and Kim; CC BY 4.0)
has labels for 1228 of the clips.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Le

from irdream.arguments import checked
from irdream.audio import sounds_below
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, audio_loader
from irdream.datasets.download import Archive, Downloadable
from irdream.errors import InputError
from irdream.files import ExistingPath, read_table, read_text
from irdream.instruments import find

OFFICIAL: dict[PartName, int] = {"training": 14_915, "test": 5_085}
LABELS_CSV = "openmic-2018-aggregated-labels.csv"
SPLITS: dict[PartName, str] = {"training": "split01_train.csv", "test": "split01_test.csv"}
INSTRUMENTS = (
    *("accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar"),
    *("mallet_percussion", "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone"),
    *("trumpet", "ukulele", "violin", "voice"),
)
WEAK = "weak labels: what nobody was asked about counts as absent"
Labels = dict[str, tuple[str, ...]]  # of each sample key

logger = logging.getLogger(__name__)


@checked
@dataclass(kw_only=True, eq=False)
class OpenMic(Downloadable):
    """The unpacked tree of OpenMIC-2018, whole or partial."""

    root: ExistingPath | None  # the folder of the tree, or one at most two levels above it
    guitar: Literal["gac", "gel"] | None = None  # what OpenMIC's is called; None: guitar
    relevance: Annotated[float, Gt(0), Le(1)] = 0.5  # from which what was asked about is a label
    predominant: ExistingPath | None = None  # a table of labels; then its clips alone
    download: bool = False  # let `prepare()` fetch what is missing
    name: str = "openmic"  # what the data set is called in tables

    title, choice = "OpenMIC", "openmic"
    source = "Zenodo record 1432913, 2.6 GB to fetch, licence CC BY 4.0"

    def __post_init__(self) -> None:
        self.codes = {one: find(one) or one for one in INSTRUMENTS}
        self.codes |= {} if self.guitar is None else {"guitar": self.guitar}
        self.classes, self.labels = tuple(self.codes.values()), WEAK
        self._table: Path | None = None
        if self.predominant is not None:
            self._table = Path(self.predominant).expanduser()
            self.classes, self.labels = (), f"labels of {self._table.name}"  # IRMAS' eleven
        self.about = f"clips of OpenMIC-2018 (CC BY 4.0), {self.labels}"

    def archives(self) -> list[Archive]:
        """Return the one archive of the Zenodo record, without its features."""
        root = Path(self.root or "").expanduser()
        tree = None if self.root is None else find_tree(root)
        return [
            Archive(
                url="https://zenodo.org/records/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                md5="e4ccf187e2bb5ab2e115416e8aafe7f4",
                folder="openmic-2018" if tree is None else str(tree.relative_to(root)),
                sounds=sum(OFFICIAL.values()),
                leave_out=("vggish",),
            )
        ]

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return the labelled clips of one part; warnings say what the tree lacks."""
        files = self._files[name]
        return Excerpts(files, audio_loader(sample_rate_hz))

    def summary(self) -> str:
        """Say in one line what was found."""
        training, test = self._files.values()
        labels = Counter(code for file in (*training, *test) for code in file.labels)
        counts = ", ".join(f"{code} {labels[code]}" for code in sorted(labels))
        kept = f"{len(training)} and {len(test)} with a label: {counts or 'none'}"
        return f"found {self._found()} below {self._tree}; {kept}; {self.labels}"

    def _found(self) -> str:
        found = {part: sum(key in self._paths for key in self._splits[part]) for part in OFFICIAL}
        return " and ".join(f"{found[part]} of {OFFICIAL[part]} {part} clips" for part in OFFICIAL)

    @cached_property
    def _tree(self) -> Path:
        root = self.existing_root()
        if (tree := find_tree(root)) is None:
            raise InputError(f"no {LABELS_CSV} below {str(root)!r}; {self.where()}")
        return tree

    @cached_property
    def _splits(self) -> dict[PartName, list[str]]:
        return read_splits(self._tree)

    @cached_property
    def _labels(self) -> Labels:
        if self._table is None:
            return read_labels(self._tree / LABELS_CSV, self.codes, relevance=self.relevance)
        return read_predominant(self._table, self.codes)

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
        self._check_clips()
        return {
            part: [
                ExcerptFile(
                    path=self._paths[key],
                    name=key,
                    labels=self._labels[key],
                    recording=key.partition("_")[0],  # the track
                )
                for key in keys
                if key in self._paths and self._labels.get(key)
            ]
            for part, keys in self._splits.items()
        }

    def _check_clips(self) -> None:
        """Warn of clips that are not everywhere; refuse a table of other clips."""
        listed = [key for keys in self._splits.values() for key in keys]
        wanted = [key for key in listed if self._table is None or key in self._labels]
        if not wanted:
            nobody = f"none of the {len(self._labels)} clips of {str(self._table)!r} is"
            raise InputError(f"{nobody} OpenMIC's; expected sample keys such as {listed[0]}")
        table = (self._table or self._tree / LABELS_CSV).name
        for problem, keys, known in (
            ("have no sound file", wanted, self._paths),
            (f"have no row in {table}", wanted, self._labels),
            (f"of {table} are in neither split file", self._labels, set(listed)),
        ):
            if missing := [key for key in keys if key not in known]:
                logger.warning("%d clips %s, such as %s", len(missing), problem, missing[0])
        sizes = {part: len(keys) for part, keys in self._splits.items()}
        if sizes != OFFICIAL or len(self._paths) < sum(OFFICIAL.values()):
            logger.warning("not the whole of OpenMIC-2018: %s", self._found())


def find_tree(root: Path) -> Path | None:
    """Return the folder with the labels: `root`, or one at most two levels below it."""
    patterns = (LABELS_CSV, f"*/{LABELS_CSV}", f"*/*/{LABELS_CSV}")
    return next((path.parent for p in patterns for path in sorted(root.glob(p))), None)


def read_splits(tree: Path) -> dict[PartName, list[str]]:
    """Read the sample keys of both parts; InputError: a file lacks or is empty, a clip in both."""
    folder = tree / "partitions"
    splits: dict[PartName, list[str]] = {}
    for part, name in SPLITS.items():
        if not (path := folder / name).is_file():
            raise InputError(f"no {name} in {str(folder)!r}; unpack the archive again")
        cells = [line.split(",")[0].strip(' \t"') for line in read_text(path).splitlines()]
        splits[part] = list(dict.fromkeys(cell for cell in cells if cell not in ("", "sample_key")))
        if not splits[part]:
            raise InputError(f"{str(path)!r} names no clip; expected one sample key a line")
    if both := sorted(set(splits["training"]) & set(splits["test"])):
        where = f"in both split files of {str(folder)!r}"
        raise InputError(f"{len(both)} clips are {where}, such as {both[0]}; unpack them again")
    return splits


def read_labels(path: Path, codes: Mapping[str, str], *, relevance: float) -> Labels:
    """Read the labels of each sample key, the surest first; `codes` is what they are called here.

    Where a clip and an instrument have two rows, the last one counts. Raises InputError when a
    column is missing, or a relevance is no number.
    """
    clips: dict[str, dict[str, float]] = {}
    for row in read_table(path, ("sample_key", "instrument", "relevance")):
        clip, name = clips.setdefault(row["sample_key"].strip(), {}), row["instrument"].strip()
        try:
            clip[codes.get(name, name)] = float(row["relevance"])
        except ValueError:
            wrong = f"relevance {row['relevance']!r} of {row['sample_key']} is no number"
            raise InputError(f"{str(path)!r}: {wrong}; unpack it again") from None
    return {
        key: tuple(sorted((c for c in clip if clip[c] >= relevance), key=lambda c: (-clip[c], c)))
        for key, clip in clips.items()
    }


def read_predominant(path: Path, codes: Mapping[str, str]) -> Labels:
    """Read the labels of each sample key from a table with the columns sample_key and label."""
    labels: Labels = {}
    for row in read_table(path, ("sample_key", "label")):
        words = [word.strip() for word in row["label"].split(";") if word.strip()]
        found = [codes.get(word) or find(word) or word for word in words]
        key = row["sample_key"].strip()
        labels[key] = tuple(dict.fromkeys((*labels.get(key, ()), *found)))
    return labels
