"""OpenMIC-2018: 20,000 clips of 10 s with weak labels (Humphrey, Durand and McFee 2018).

Zenodo record 1432913, licence CC BY 4.0; each clip has the licence of its track in the Free
Music Archive, which openmic-2018-metadata.csv names. Clips are Ogg Vorbis.

    audio/000/000046_3840.ogg               track and start in the sample key, 000046_3840
    openmic-2018-aggregated-labels.csv      sample_key,instrument,relevance,num_responses
    partitions/split01_train.csv, _test     14915 and 5085 sample keys, one a line, no header

A label says that an instrument sounds somewhere in the clip, not that it is predominant. Most
instruments of a clip were never asked about and have no row; they count as absent. Nine of the
twenty instruments are among the eleven; guitar is acoustic or electric, and no label unless it is
mapped to one of them. Clips without a label are left out.

The CSV is read and not openmic-2018.npz, which holds 200 MB of features beside the labels, and
sample keys that numpy may have pickled.

A table of predominant instruments may take the place of these labels. OpenPIR (Cochran, Lee and
Kim; CC BY 4.0) has one for 1228 of the clips. Of its columns

    one holds sample keys, or paths that end in them
    one is called predominant, labels, instrument ...   several labels in a cell, or in several rows
    or many are called flute, pia, acoustic_guitar ...  with 0 and 1
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Annotated, Literal

from annotated_types import Gt, Le

from irdream.arguments import checked
from irdream.audio import sounds_below
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, audio_loader
from irdream.datasets.download import Archive, Downloadable
from irdream.errors import InputError
from irdream.files import ExistingPath, read_text
from irdream.instruments import CODES, parse

OFFICIAL: dict[PartName, int] = {"training": 14_915, "test": 5_085}
LABELS_CSV = "openmic-2018-aggregated-labels.csv"
SPLITS: dict[PartName, tuple[str, str]] = {  # the second name is that of its own description
    "training": ("split01_train.csv", "train01.txt"),
    "test": ("split01_test.csv", "test01.txt"),
}
_OURS = "cello clarinet flute organ piano saxophone trumpet violin voice"
CODE_OF = {name: name[:3] for name in _OURS.split()}
OTHERS = (  # guitar: acoustic or electric, nobody was asked
    *("accordion", "banjo", "bass", "cymbals", "drums", "guitar", "mallet_percussion"),
    *("mandolin", "synthesizer", "trombone", "ukulele"),
)
_LABELS = (  # of a table of predominant instruments, the likeliest first
    *("predominant_instruments", "predominant_instrument", "predominant_labels"),
    *("predominant_label", "predominant", "irmas_labels", "irmas_label"),
    *("labels", "label", "instruments", "instrument"),
)
_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no")
_KEY = re.compile(r"\d+_\d+")
WEAK = "weak labels: what nobody was asked about counts as absent"
Labels = dict[str, tuple[str, ...]]  # of each sample key

logger = logging.getLogger(__name__)


@checked
class OpenMic(Downloadable):
    """The unpacked tree of OpenMIC-2018, whole or partial.

    Args:
        root: the folder of the tree, or one at most two levels above it.
        guitar: what OpenMIC's guitar is called, "gac" or "gel"; None: it is no label.
        relevance: from which an instrument that was asked about is a label.
        predominant: a table of predominant instruments; then its clips and labels alone.
        download: let `prepare()` fetch what is missing.
        name: what the data set is called in tables.
    """

    title, choice = "OpenMIC", "openmic"
    source = "Zenodo record 1432913, 2.6 GB to fetch, licence CC BY 4.0"

    def __init__(
        self,
        *,
        root: ExistingPath | None,
        guitar: Literal["gac", "gel"] | None = None,
        relevance: Annotated[float, Gt(0), Le(1)] = 0.5,
        predominant: ExistingPath | None = None,
        download: bool = False,
        name: str = "openmic",
    ) -> None:
        self.root = None if root is None else Path(root).expanduser()
        self.predominant = None if predominant is None else Path(predominant).expanduser()
        self.codes = CODE_OF | ({} if guitar is None else {"guitar": guitar})
        self.relevance, self.download = relevance, download
        self.name = name
        self.labels = WEAK if self.predominant is None else f"labels of {self.predominant.name}"
        self.about = f"clips of OpenMIC-2018, {self.labels}"

    def archives(self) -> list[Archive]:
        """Return the one archive of the Zenodo record, without its features."""
        tree = None if self.root is None else find_tree(self.root)
        return [
            Archive(
                url="https://zenodo.org/records/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                md5="e4ccf187e2bb5ab2e115416e8aafe7f4",
                folder="openmic-2018" if tree is None else str(tree.relative_to(self.root or "")),
                sounds=sum(OFFICIAL.values()),
                leave_out=("vggish",),
            )
        ]

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return the labelled clips of one part; warnings say what the tree lacks.

        Raises:
            InputError: no root, no such tree in it, a table that cannot be understood.
        """
        loader = audio_loader(sample_rate_hz)
        return Excerpts(self._files[name], loader)

    def summary(self) -> str:
        """Say in one line what was found."""
        training, test = self._files.values()
        labels = Counter(code for file in (*training, *test) for code in file.labels)
        counts = ", ".join(f"{code} {labels[code]}" for code in CODES if labels[code])
        kept = f"{len(training)} and {len(test)} with a label: {counts or 'none'}"
        left_out = sum(not codes and key in self._paths for key, codes in self._labels.items())
        kept += f"; {left_out} left out, whose instruments are no labels" * bool(left_out)
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
        if self.predominant is None:
            return read_labels(self._tree / LABELS_CSV, self.codes, relevance=self.relevance)
        return read_predominant(self.predominant, self.codes)

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
        wanted = [key for key in listed if self.predominant is None or key in self._labels]
        if not wanted:
            nobody = f"none of the {len(self._labels)} clips of {str(self.predominant)!r} is"
            raise InputError(f"{nobody} OpenMIC's; expected sample keys such as {listed[0]}")
        table = (self.predominant or self._tree / LABELS_CSV).name
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
    """Read the sample keys of both parts.

    Raises:
        InputError: when a file is missing or empty, or a clip is in both.
    """
    folder = tree / "partitions"
    splits: dict[PartName, list[str]] = {}
    for part, names in SPLITS.items():
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise InputError(f"no {names[0]} in {str(folder)!r}; unpack the archive again")
        cells = [line.split(",")[0].strip(' \t"') for line in read_text(path).splitlines()]
        splits[part] = list(dict.fromkeys(cell for cell in cells if cell not in ("", "sample_key")))
        if not splits[part]:
            raise InputError(f"{str(path)!r} names no clip; expected one sample key a line")
    if both := sorted(set(splits["training"]) & set(splits["test"])):
        where = f"in both split files of {str(folder)!r}"
        raise InputError(f"{len(both)} clips are {where}, such as {both[0]}; unpack them again")
    return splits


def read_labels(path: Path, codes: Mapping[str, str], *, relevance: float) -> Labels:
    """Read the labels of each sample key, the surest first; none where no label is ours.

    Where a clip and an instrument have two rows, the last one counts.

    Args:
        path: the table of aggregated labels.
        codes: which of OpenMIC's instruments are labels, and what they are called here.
        relevance: from which an instrument is a label, in 0..1.

    Raises:
        InputError: when a column is missing, or a relevance is no number.
    """
    columns, rows = _read_table(path)
    if missing := [c for c in ("sample_key", "instrument", "relevance") if c not in columns]:
        found = ", ".join(columns) or "nothing"
        raise InputError(f"{str(path)!r} has no {missing[0]}; found {found}; unpack it again")
    clips: dict[str, dict[str, float]] = {}
    for row in rows:
        clip = clips.setdefault(row["sample_key"].strip(), {})
        try:
            clip[row["instrument"].strip()] = float(row["relevance"])
        except ValueError:
            wrong = f"relevance {row['relevance']!r} of {row['sample_key']} is no number"
            raise InputError(f"{str(path)!r}: {wrong}; unpack it again") from None
    labels: Labels = {}
    for key, clip in clips.items():
        sure = {codes[name]: x for name, x in clip.items() if name in codes and x >= relevance}
        labels[key] = tuple(sorted(sure, key=lambda code: (-sure[code], CODES.index(code))))
    return labels


def read_predominant(path: Path, codes: Mapping[str, str]) -> Labels:
    """Read the labels of each sample key; none where no instrument of ours is predominant.

    Args:
        path: the table.
        codes: what OpenMIC's instruments are called here; those it lacks are no labels.

    Raises:
        InputError: when its columns or a cell cannot be understood.
    """
    columns, rows = _read_table(path)
    key = next((c for c in columns if any(_KEY.fullmatch(_stem(row[c])) for row in rows)), None)
    by_name = {_normal(column): column for column in columns}
    label = next((by_name[name] for name in _LABELS if name in by_name), None)
    wide: dict[str, str] = {}  # the instrument of each column that is called like one
    for column in columns:
        with contextlib.suppress(InputError):
            wide |= {column: code} if (code := _code(column, codes)) else {}
    if key is None or not (label or wide):
        raise InputError(
            f"{str(path)!r} has the columns {', '.join(columns) or 'none'}; expected sample keys "
            "such as 000046_3840, and either a column predominant or one for each instrument, "
            "such as flute; rename them"
        )
    labels: Labels = {}
    for row in rows:
        clip = _stem(row[key])
        try:
            found = _named(row[label], codes) if label else _marked(row, wide)
        except InputError as error:
            raise InputError(f"{str(path)!r}, {clip}: {error}") from None
        labels[clip] = tuple(dict.fromkeys((*labels.get(clip, ()), *found)))
    return labels


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return columns and rows; cells stand between commas, semicolons or tabs, or are empty."""
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="", restval="")
    try:
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
        return list(reader.fieldnames), list(reader)
    except csv.Error as error:
        raise InputError(f"{str(path)!r} line {reader.line_num + 1}: {error}; mend it") from None


def _stem(cell: str) -> str:
    return PureWindowsPath(cell.strip()).stem  # which splits at both slashes


def _normal(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _code(word: str, codes: Mapping[str, str]) -> str | None:
    """Return an instrument's code; None for one that is OpenMIC's alone."""
    name = _normal(word)
    return codes.get(name) if name in OTHERS else codes.get(name) or parse(word)


def _named(cell: str, codes: Mapping[str, str]) -> list[str]:
    """Read `flute;voice`, `flute, voice` and `['flute', 'voice']`."""
    words = [word.strip(" []()'\"") for word in re.split(r"[;,|/]", cell)]
    known = [word for word in words if word.lower() not in ("", "nan", "none")]
    return [code for word in known if (code := _code(word, codes))]


def _marked(row: Mapping[str, str], wide: Mapping[str, str]) -> list[str]:
    """Return the codes whose columns have a 1."""
    cells = {column: row[column].strip().lower() for column in wide}
    if odd := [column for column, cell in cells.items() if cell not in (*_YES, *_NO)]:
        raise InputError(f"{odd[0]} is {row[odd[0]]!r}; expected 0 or 1")
    return [code for column, code in wide.items() if cells[column] in _YES]
