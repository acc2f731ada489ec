"""What every corpus reader hands back, and the small steps that readers share.

A reader is a module of this folder with `read(folder, **options) -> Reading`, and `add_arguments(parser)` for
its own options, whose names are the keywords of `read`. It keeps what it can use, lists what it cannot in
`dropped` with the reason, and lists what it kept but distrusts in `flagged`: nothing disappears silently.
`preparation.py` does the rest: it has the options --fold, --jobs, --verify-audio, --keep-missing-audio,
--proxy-dimensions, --allow-partial and --output, and looks for missing or unreadable audio, so a reader need
not.
"""

import csv
import io
import math
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.labels import Scale
from multimodal_ser.manifests import Header
from multimodal_ser.text_files import LFS_PREFIX, read_text
from multimodal_ser.utterances import Utterance

SPLITS = ("train", "development", "test")
CLAMPED = "label outside its scale, clamped"


@dataclass(frozen=True)
class Remark:
    """One item of a corpus and what is to be said about it."""

    id: str
    reason: str  # the same words for the same reason, so that reasons can be counted
    detail: str = ""  # where, which value: free text
    split: str | None = None  # where the item would have gone, if that is known
    failed: bool = False  # something is wrong with this copy; not the user's choice nor a known defect


@dataclass
class Reading:
    """A corpus as a reader found it.

    `header.audio_root` is the folder that audio paths start from, as the reader found it; None means the
    folder it was given. Keys of `expected` are split names, "fold1" ..., and "total".
    """

    header: Header
    utterances: list[Utterance] = field(default_factory=list)
    dropped: list[Remark] = field(default_factory=list)
    flagged: list[Remark] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)  # published counts
    expected_from: str = ""  # where the published counts stand
    notes: list[str] = field(default_factory=list)  # facts about this copy that a user should know
    scale: Scale | None = None  # of the ratings on disk, so that a report can show them as published

    def drop(
        self,
        identifier: str,
        reason: str,
        detail: str = "",
        *,
        split: str | None = None,
        failed: bool = True,
    ) -> None:
        """Leave an item out; `failed=False` if the user asked for it or every copy has this defect."""
        self.dropped.append(Remark(identifier, reason, detail, split, failed))

    def flag(self, identifier: str, reason: str, detail: str = "") -> None:
        self.flagged.append(Remark(identifier, reason, detail))

    def unit(self, identifier: str, dimension: str, value: float, scale: Scale) -> float:
        """A rating in unit scale; one outside its scale is clamped and flagged."""
        clamped = min(max(value, scale.low), scale.high)
        if clamped != value:
            self.flag(identifier, CLAMPED, f"{dimension} = {value:g}, {scale}")
        return scale.to_unit(clamped)


def subfolder(folder: Path, *names: str) -> Path | None:
    """The first existing subfolder that is called one of `names` in any case, or None.

    A folder that holds nothing but one folder of the same name (Audios/Audios) is what unpacking into a
    folder leaves behind: the inner one is meant.
    """
    entries = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    for name in names:
        if found := entries.get(name.lower()):
            inner = [entry for entry in found.iterdir() if not entry.name.startswith(".")]
            if len(inner) == 1 and inner[0].is_dir() and inner[0].name.lower() == found.name.lower():
                return inner[0]
            return found
    return None


def checked_folder(folder: str | os.PathLike) -> Path:
    """`folder` as a path, which must exist, be a folder, be readable and hold something."""
    path = Path(folder)
    if not path.exists():
        raise InputError(f"no such folder: {path}")
    if not path.is_dir():
        raise InputError(f"not a folder: {path}; give the corpus' top folder, not an archive or a file")
    try:
        is_empty = next(path.iterdir(), None) is None
    except PermissionError:
        raise InputError(f"no permission to read the folder {path}") from None
    if is_empty:
        raise InputError(f"the folder {path} is empty")
    return path


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a delimited file, which must have `columns`; every cell stays text.

    Nothing is guessed: the sentence "None" is a word and the id 0012 keeps its zeros. Names of columns are
    stripped; cells that a short row lacks are empty.
    """
    text, _ = read_text(path)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip() for name in next(lines, [])]
        if missing := [name for name in columns if name not in header]:
            raise InputError(
                f"{path}: no column '{missing[0]}'; columns found: {', '.join(header) or 'none'}; "
                f"needed: {', '.join(columns)}"
            )
        padding = [""] * len(header)
        return [dict(zip(header, [*row, *padding], strict=False)) for row in lines if row]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: not a delimited table ({error})") from None


def is_lfs_stub(path: Path) -> bool:
    """Whether a media file is the 131-byte text that Git-LFS leaves in its place."""
    with path.open("rb") as file:
        return file.read(len(LFS_PREFIX)) == LFS_PREFIX


def finite_number(text: str) -> float | None:
    """The number that a cell holds; None for anything else, NaN and infinity included."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def relative(path: Path, root: Path) -> str:
    """`path` as a manifest writes it: below `root`, with forward slashes."""
    return path.relative_to(root).as_posix()


def natural(name: str) -> tuple:
    """A sort key in which take 10 comes after take 9."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def folds_of(speakers: Iterable[str], count: int, seed: int = 0) -> dict[str, int]:
    """Speakers to folds 1..count, as even as can be; the same for the same speakers and seed."""
    shuffled = sorted(set(speakers), key=natural)
    if len(shuffled) < count:
        raise InputError(f"{len(shuffled)} speakers cannot be spread over {count} folds")
    random.Random(seed).shuffle(shuffled)
    return {speaker: 1 + position % count for position, speaker in enumerate(shuffled)}


def split_by_fold(utterances: Sequence[Utterance], fold: int) -> list[Utterance]:
    """Test on `fold`, develop on the next, train on the rest; utterances without a fold stay as they are."""
    count = max((u.fold for u in utterances if u.fold is not None), default=0)
    if count == 0:
        raise InputError(f"fold {fold} was asked for, but no utterance of this manifest has a fold")
    if not 1 <= fold <= count:
        raise InputError(f"--fold {fold}: this corpus has folds 1 to {count}")
    names = {fold: "test", fold % count + 1: "development"}
    return [u if u.fold is None else replace(u, split=names.get(u.fold, "train")) for u in utterances]


def split_by_speaker(
    utterances: Sequence[Utterance], shares: Sequence[float], seed: int = 0
) -> list[Utterance]:
    """Assign whole speakers to train, development and test so that utterances come near to `shares`.

    Utterances without a speaker may be anybody's, so they go to train. Speakers are drawn at random and each
    goes to the split that lacks most; the same for the same speakers and seed.
    """
    counts = Counter(u.speaker for u in utterances if u.speaker is not None)
    wanted = {name: share for name, share in zip(SPLITS, shares, strict=True) if share > 0}
    if len(counts) < len(wanted):
        raise InputError(
            f"{len(counts)} speakers are known: too few for {len(wanted)} splits that share none"
        )
    speakers = sorted(counts, key=natural)
    random.Random(seed).shuffle(speakers)
    filled = dict.fromkeys(wanted, 0)
    assigned = {}
    for speaker in speakers:
        empty = [name for name in wanted if filled[name] == 0]
        # The last speakers go to splits that are still empty, however small their share.
        open_splits = empty if len(empty) >= len(speakers) - len(assigned) else list(wanted)
        assigned[speaker] = min(open_splits, key=lambda name: filled[name] / wanted[name])
        filled[assigned[speaker]] += counts[speaker]
    return [replace(u, split=assigned.get(u.speaker, "train")) for u in utterances]


def parse_shares(text: str) -> tuple[float, ...]:
    """Read "0.8,0.1,0.1": the shares of train, development and test."""
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"not three shares that add up to 1: '{text}'; write train,development,test such as 0.8,0.1,0.1"
        )
    return shares
