"""RAVDESS: 24 actors speak two sentences in eight emotions; the audio-only recordings.

Origin: Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE
2018.
Licence: CC BY-NC-SA 4.0.
How to obtain: Audio_Speech_Actors_01-24.zip (and Audio_Song_Actors_01-24.zip) from Zenodo record 1188976;
give the folder that holds Actor_01 ... Actor_24, or any folder above it.
Split: none official. `fold` is 1..6 with four actors each, two women and two men, none in two folds: actors
1, 2, 13, 14 are fold 1, actors 3, 4, 15, 16 fold 2, and so on. Every fold has 240 spoken clips.

File names are MM-CC-EE-II-SS-RR-AA.wav: modality (03 audio only), channel (01 speech, 02 song), emotion,
intensity (01 normal, 02 strong), statement, repetition, actor (odd = male). Speech has 1440 files, song
1012 (actor 18 does not sing, and nobody sings disgust or surprise).

Traps:
- Five spoken files are stereo: every header is read, and what is not mono is flagged.
- Every file has a chunk FLLR before its samples, so a reader that skips 44 bytes returns rubbish.
- Actor 07's 03-01-03-01-02-01 and 03-01-03-01-02-02 are byte for byte the same take; `prepare`
  flags what is the same.
- A much used copy holds every file twice, in Actor_01 and in audio_speech_actors_01-24/Actor_01.
- The song files fit the same pattern: left out unless asked for.
- Neutral has no strong intensity, so it has half as many clips (96; the other classes have 192).
- The two sentences say nothing about the emotion: text models learn nothing here.
- Long silence at both ends, and peaks as low as 201 of 32768.
"""

import argparse
import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.reading import Reading, checked_folder, relative
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-"
    r"(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
)
AUDIO_ONLY = "03"
FOLDS = 6
ACTORS = range(1, 25)
SPEECH_PER_ACTOR, SONGS_PER_ACTOR = 60, 44
NOT_SINGING = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--include-song", action="store_true", help="keep the sung clips too")


def read(folder: Path, include_song: bool = False) -> Reading:
    """Read RAVDESS from any folder above its Actor_01 ... Actor_24."""
    folder = checked_folder(folder)
    reading = Reading(
        Header(corpus="ravdess", licence="CC BY-NC-SA 4.0"),
        expected=_expected(include_song),
        expected_from="Livingstone and Russo 2018; folds are ours",
    )
    kept: dict[str, Path] = {}
    for path in _wav_files(folder):
        _take(path, folder, include_song, kept, reading)
    if not kept:
        raise InputError(_nothing_found(folder, reading))
    reading.notes += [
        "there is no official split: `fold` tests on four actors at a time (--fold 1 ... 6)",
        "two sentences are spoken in every emotion, so the text carries no emotion",
    ]
    return reading


def _fold(actor: int) -> int:
    return (actor - 1) // 2 % FOLDS + 1


def _expected(include_song: bool) -> dict[str, int]:
    expected: Counter[str] = Counter()
    for actor in ACTORS:
        songs = SONGS_PER_ACTOR if include_song and actor != NOT_SINGING else 0
        expected[f"fold{_fold(actor)}"] += SPEECH_PER_ACTOR + songs
    return {**expected, "total": expected.total()}


def _wav_files(folder: Path) -> Iterator[Path]:
    """Every wav below `folder` by depth and name, without what macOS leaves behind."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".wav")
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return iter(sorted(visible, key=lambda path: (len(path.parts), path.as_posix())))


def _take(path: Path, folder: Path, include_song: bool, kept: dict[str, Path], reading: Reading) -> None:
    """Keep one file as an utterance, or say why not."""
    identifier, where = path.stem, relative(path, folder)
    match = NAME.fullmatch(identifier)
    if match is None:
        reading.drop(identifier, "the name does not follow the corpus' pattern", where)
    elif match["modality"] != AUDIO_ONLY:
        reading.drop(identifier, "sound of a video, not an audio-only recording", where, failed=False)
    elif match["channel"] == "02" and not include_song:
        reading.drop(identifier, "song, left out without --include-song", where, failed=False)
    elif identifier in kept:
        first = relative(kept[identifier], folder)
        reading.drop(
            identifier, "a second copy of the same file name", f"{where}, kept {first}", failed=False
        )
    else:
        kept[identifier] = path
        reading.utterances.append(_utterance(match, where))
        _flag_oddities(match, path, reading)


def _utterance(match: re.Match[str], where: str) -> Utterance:
    actor = int(match["actor"])
    return Utterance(
        id=match[0],
        corpus="ravdess",
        audio=where,
        speaker=match["actor"],
        gender="male" if actor % 2 else "female",
        fold=_fold(actor),
        text=STATEMENTS[match["statement"]],
        text_source="reference",
        emotion=EMOTIONS[match["emotion"]],
        label_source="acted",
        meta={
            "channel": CHANNELS[match["channel"]],
            "intensity": INTENSITIES[match["intensity"]],
            "statement": int(match["statement"]),
            "repetition": int(match["repetition"]),
        },
    )


def _flag_oddities(match: re.Match[str], path: Path, reading: Reading) -> None:
    import soundfile

    if match["emotion"] == "01" and match["intensity"] == "02":
        reading.flag(match[0], "strong neutral, which the corpus does not have")
    folder = re.fullmatch(r"(?i)actor_(\d\d)", path.parent.name)
    if folder and folder[1] != match["actor"]:
        reading.flag(match[0], "in another actor's folder; the name is believed", path.parent.name)
    # What has no readable header is dropped, with the reason, by `preparation.py`.
    with contextlib.suppress(soundfile.LibsndfileError):
        if (channels := soundfile.info(path).channels) != 1:
            reading.flag(match[0], "not mono", f"{channels} channels")


def _nothing_found(folder: Path, reading: Reading) -> str:
    reasons = {remark.reason for remark in reading.dropped}
    if any(reason.startswith("song") for reason in reasons):
        return f"only sung clips in {folder}; add --include-song, or unpack Audio_Speech_Actors_01-24.zip"
    example = f"; found {reading.dropped[0].detail}, for example" if reading.dropped else ""
    return (
        f"no RAVDESS clip in {folder}: expected Actor_01/03-01-01-01-01-01-01.wav and so on{example}. "
        "Is the archive unpacked, and is this the right corpus?"
    )
