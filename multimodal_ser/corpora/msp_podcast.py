"""MSP-Podcast: natural emotional speech from podcasts, rated by crowds, releases 1.6 to 2.0.

Origin: Lotfian and Busso 2019, "Building naturalistic emotionally balanced speech corpus by retrieving
emotional speech from existing podcast recordings"; MSP lab, University of Texas at Dallas.
Licence: academic, signed by the institution; a commercial one exists. Nothing of it may be passed on. To
obtain it, ask at https://www.lab-msp.com/MSP/MSP-Podcast.html.
Split: official. Train, Development ("Validation" up to 1.8), Test1, Test2, and from 1.11 Test3, of which
only the audio is given. The packages of the Odyssey 2024 and Interspeech 2025 challenges have no test
split. Speakers of Test1, Test2 and Test3 overlap: never train on one test set to score another.
Scale: 1..7 on disk, the mean of the raters. `ratings` holds every rater's answer, `emotion_probs` the
shares of their primary votes; how "Other-..." counts stands in `msp_votes.py`. About a fifth of the clips
are "no agreement"; they keep their dimensions and stay unless `drop_no_agreement`.

Traps handled: label folder and its files in any case; "concensus" up to 1.9 (the newer spelling if both are
there); csv, json or labels.txt; both layouts of the detailed labels; free text with commas, semicolons and
brackets; "Dissapointed"; speakers and genders "Unknown" are null, after Speaker_ids.txt was asked; Test3
stands only in Partitions.txt, or only among the audio; names with two and three numbers, and those of
Test3; the podcast's number in meta.podcast, null in Test3; Audio or Audios; doubled folders; hidden "._"
files; Previous_releases_information; transcripts in Windows-1252 or UTF-16, empty ones ("") and missing
ones (null); a clip of 2.0 that has no audio in any copy; stereo at 44.1 kHz (nothing is assumed about
audio). Time_Labels.txt (old releases) is not read.
"""

import argparse
import os
import re
from collections import Counter
from dataclasses import dataclass, replace

from multimodal_ser.corpora.msp_labels import Row, read_consensus, read_ratings
from multimodal_ser.corpora.msp_podcast_files import (
    RELEASES,
    SPLITS,
    Speakers,
    Tree,
    audio_files,
    find_tree,
    find_version,
    read_partitions,
    read_speakers,
    read_words,
)
from multimodal_ser.corpora.msp_votes import Ratings, Units, emotion_of, known, stem_of, vote_shares
from multimodal_ser.corpora.reading import Reading
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

CORPUS = "msp-podcast"
LICENCE = "MSP-Podcast academic licence (University of Texas at Dallas); not to be passed on"
WITHOUT_AUDIO = {"2.0": ("MSP-PODCAST_1909_1017",)}  # in every copy of that release
_NAME = re.compile(r"MSP-PODCAST_(?:(\d{4})_\d{4}(?:_\d{4})?|test3_\d{4})")
_TEST3 = "test3"
_GENDERS = {"male": "male", "female": "female"}
_SAFE = re.compile(r"[^/\\\0]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this corpus."""
    parser.add_argument(
        "--version",
        choices=RELEASES,
        help="the release, if neither the number of rows nor the folder's name tells",
    )
    parser.add_argument(
        "--drop-no-agreement",
        action="store_true",
        help="leave out clips whose raters agreed on no class (X), about a fifth; their dimensions are sound",
    )
    parser.add_argument(
        "--text-from-alignment",
        action="store_true",
        help="take the words of ForceAligned where a clip has no transcript",
    )


def read(
    folder: str | os.PathLike,
    version: str | None = None,
    drop_no_agreement: bool = False,
    text_from_alignment: bool = False,
) -> Reading:
    """Read a release from its top folder; from the folder above or inside it, if that leaves no doubt."""
    reading = Reading(Header(CORPUS, licence=LICENCE), scale=MSP_SCALE)
    tree = find_tree(folder, reading)
    rows = read_consensus(tree.labels, reading)
    labelled = len({row.file for row in rows if known(row.emotion) or known(row.arousal)})
    version = version or find_version(tree, folder, labelled, reading)
    reading.header = replace(reading.header, version=version, audio_root=str(tree.top))
    sources = _Sources(
        reading,
        tree,
        read_ratings(tree.labels, reading, MSP_SCALE),
        read_partitions(tree, reading),
        read_speakers(tree, reading),
        read_words(tree, reading, text_from_alignment),
        audio_files(tree),
    )
    _add_rows(sources, rows)
    _add_unlabelled(sources, {stem_of(row.file) for row in rows})
    _compare(reading)
    _note_strays(sources)
    _leave_out(sources, drop_no_agreement)
    return reading


@dataclass(frozen=True)
class _Sources:
    """Everything that was read, by the stem of a clip's name."""

    reading: Reading
    tree: Tree
    ratings: Ratings
    partitions: dict[str, str]
    speakers: Speakers
    words: dict[str, tuple[str, str]]
    audio: dict[str, str]


def _add_rows(sources: _Sources, rows: list[Row]) -> None:
    reading = sources.reading
    units = Units(reading, MSP_SCALE)
    for row in rows:
        stem = stem_of(row.file)
        if not _SAFE.fullmatch(stem):
            reading.drop(stem, "file name holds a folder", row.file)
            continue
        labels = {name: units(stem, name, text) for name, text in zip(DIMENSIONS, row[2:5], strict=True)}
        labels["emotion"] = emotion_of(reading, stem, row.emotion)
        reading.utterances.append(_utterance(sources, stem, row, labels))


def _add_unlabelled(sources: _Sources, labelled: set[str]) -> None:
    """Test3, from Partitions.txt or from the audio alone; whatever else has no labels is left out."""
    reading = sources.reading
    for stem, split in sources.partitions.items():
        if stem in labelled:
            continue
        if split == _TEST3 and _SAFE.fullmatch(stem):
            reading.utterances.append(_utterance(sources, stem, Row(stem, split=split), {}))
        else:
            reading.drop(stem, "in Partitions.txt but not in the labels", split=split)
    for stem in sorted(sources.audio.keys() - labelled - sources.partitions.keys()):
        if _TEST3 in stem.lower():
            reading.utterances.append(_utterance(sources, stem, Row(stem, split=_TEST3), {}))
        else:
            reading.drop(stem, "audio without labels", sources.audio[stem], failed=False)


def _utterance(sources: _Sources, stem: str, row: Row, labels: dict) -> Utterance:
    speaker = known(row.speaker) or sources.speakers.of_clip.get(stem)
    gender = known(row.gender) or sources.speakers.gender.get(speaker or "") or ""
    name = _NAME.fullmatch(stem)
    if name is None:
        sources.reading.flag(stem, "file name of another form", row.file)
    ratings = sources.ratings.get(stem)
    text, text_source = sources.words.get(stem, (None, None))
    folder = (
        "Audios"
        if sources.tree.audio is None
        else sources.tree.audio.relative_to(sources.tree.top).as_posix()
    )
    is_rated = bool(ratings) or any(value is not None for value in labels.values())
    return Utterance(
        id=stem,
        corpus=CORPUS,
        audio=sources.audio.get(stem) or f"{folder}/{stem}.wav",
        speaker=speaker,
        gender=_GENDERS.get(gender.lower()),
        split=_split(sources, stem, row.split),
        text=text,
        text_source=text_source,
        emotion_probs=vote_shares(ratings or ()),
        label_source="rated" if is_rated else None,
        ratings=ratings,
        meta={"podcast": name[1] if name else None},
        **labels,
    )


def _split(sources: _Sources, stem: str, written: str) -> str | None:
    """The split that the labels name, or else Partitions.txt; a contradiction and a gap are flagged."""
    split, listed = SPLITS.get(written.strip().lower()), sources.partitions.get(stem)
    if split and listed and split != listed:
        sources.reading.flag(stem, "another split in Partitions.txt", f"{split}, but {listed} there")
    if split is None and listed is None:
        sources.reading.flag(stem, "no split", f"'{written}'; known: {', '.join(SPLITS)}")
    return split or listed


def _compare(reading: Reading) -> None:
    """Hand over the published counts, and note where counts known from memory only differ."""
    release = RELEASES.get(reading.header.version or "")
    if release is None:
        return
    reading.expected, reading.expected_from = dict(release.confirmed), release.source
    found = Counter(utterance.split for utterance in reading.utterances)
    differing = [
        f"{split} {found[split]:,} (recalled: {count:,})"
        for split, count in release.recalled.items()
        if split not in release.confirmed and found[split] != count
    ]
    if differing:
        reading.notes.append(
            f"split sizes of {reading.header.version} are known from memory only; here they differ: "
            + ", ".join(differing)
        )


def _note_strays(sources: _Sources) -> None:
    """Note ratings and transcripts of clips that the labels do not know."""
    ids = {utterance.id for utterance in sources.reading.utterances}
    for what, stems in (("ratings", sources.ratings), ("transcripts", sources.words)):
        if strays := sorted(stems.keys() - ids):
            sources.reading.notes.append(f"{what} of {len(strays)} clips without labels, such as {strays[0]}")


def _leave_out(sources: _Sources, drop_no_agreement: bool) -> None:
    """Drop what the user does not want and what no copy of the release has."""
    reading = sources.reading
    lost = set(WITHOUT_AUDIO.get(reading.header.version or "", ())) - sources.audio.keys()
    kept = []
    for utterance in reading.utterances:
        if sources.audio and utterance.id in lost:
            reading.drop(utterance.id, "no copy has its audio", split=utterance.split, failed=False)
        elif drop_no_agreement and utterance.emotion == "no_agreement":
            reading.drop(utterance.id, "no agreement, left out as asked", split=utterance.split, failed=False)
        else:
            kept.append(utterance)
    reading.utterances = kept
