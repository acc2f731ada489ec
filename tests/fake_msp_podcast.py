"""Writes MSP-Podcast trees of invented clips, in the folder structure of each release, for tests.

`write_tree` writes given clips, with real wav files or without; `invent` makes any number of clips whose
labels have the moments of release 1.8. From the command line, a tree of 2.0's size without audio:

    python tests/fake_msp_podcast.py FOLDER --labelled 264705 --test3 3200
"""

import argparse
import csv
import json
import random
import wave
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

RELEASES = ("1.6", "1.7", "1.8", "1.9", "1.10", "1.11", "1.12", "2.0")
HEADER = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")

# Release 1.8: how often each letter occurs, and the means (arousal, valence, dominance) of four classes.
LETTERS = {
    "N": 26009,
    "H": 14285,
    "X": 14199,
    "U": 4084,
    "C": 3644,
    "A": 3218,
    "S": 2649,
    "D": 2593,
    "F": 1544,
    "O": 817,
}
MEANS = {"A": (5.34, 2.83, 5.29), "H": (4.93, 4.97, 4.89), "N": (4.08, 4.10, 4.29), "S": (3.54, 3.17, 3.80)}
MEAN, SPREAD = (4.38, 4.24, 4.50), (0.94, 0.84, 0.75)
PRIMARY = {
    "A": "Angry",
    "S": "Sad",
    "H": "Happy",
    "U": "Surprise",
    "F": "Fear",
    "D": "Disgust",
    "C": "Contempt",
    "N": "Neutral",
    "O": "Other-Bored, tired",
}
SPLITS = {"Train": 169_190, "Development": 34_399, "Test1": 46_294, "Test2": 14_822}  # clips in 2.0
WORDS = ("well", "so", "then", "we", "said", "it", "was", "fine", "and", "you", "know", "right")


@dataclass(frozen=True)
class Vote:
    """One rater's answer, as it is printed; `secondary` None = the field is missing."""

    worker: str
    primary: str
    secondary: str | None
    arousal: str
    valence: str
    dominance: str


@dataclass(frozen=True)
class Clip:
    """One clip, as its files print it."""

    stem: str
    emotion: str = "N"
    arousal: str = "4.0"
    valence: str = "4.0"
    dominance: str = "4.0"
    speaker: str = "1"
    speaker_in_list: str | None = None  # what Speaker_ids.txt says, None = the same
    gender: str = "Male"
    split: str = "Train"  # Test3: in Partitions.txt and among the audio only
    votes: Sequence[Vote] = ()
    transcript: str | bytes | None = None  # None = no file
    alignment: Sequence[str] | None = None  # words, "" = silence; None = no file
    audio: str | None = "mono"  # "mono" 16 kHz, "stereo" 44.1 kHz, None = no file
    in_partitions: bool = True


def write_tree(
    folder: Path,
    clips: Iterable[Clip],
    version: str = "2.0",
    layout: str | None = None,
    audio: bool = True,
    formats: Sequence[str] = ("csv",),
    seconds: float = 0.25,
) -> Path:
    """Write a release and return its top folder.

    `layout` of labels_detailed.csv: "columns" or "detail", None = that of the release. `formats` of the
    label files: csv, json, txt. `audio` False = no audio folder.
    """
    clips = list(clips)
    top = Path(folder) / f"MSP-PODCAST-Publish-{version}"
    labels = top / {"1.6": "label", "1.9": "labels"}.get(version, "Labels")
    labels.mkdir(parents=True)
    (top / "readme.txt").write_text("MSP-Podcast corpus, invented for tests\n", encoding="utf-8")
    _write_labels(labels, [clip for clip in clips if clip.split != "Test3"], version, layout, formats)
    _write_lists(top, clips, version)
    if RELEASES.index(version) >= RELEASES.index("1.10"):
        _write_words(top, clips)
    if audio:
        (top / "Audios").mkdir()
        for clip in clips:
            if clip.audio is not None:
                write_wav(top / "Audios" / f"{clip.stem}.wav", seconds, stereo=clip.audio == "stereo")
    return top


def invent(
    count: int, test3: int = 0, seed: int = 0, raters: int = 5, speakers: int = 1500
) -> Iterator[Clip]:
    """Invent clips: splits in proportion to 2.0's and no speaker in two of them, one in ten unknown."""
    chance = random.Random(seed)
    bounds = [count * bound / sum(SPLITS.values()) for bound in accumulate(SPLITS.values())]
    for number in range(count):
        position = bisect(bounds, number + 0.5)
        speaker = 1 + position + len(SPLITS) * chance.randrange(max(1, speakers // len(SPLITS)))
        is_known = chance.random() > 0.1
        letter = chance.choices(list(LETTERS), list(LETTERS.values()))[0]
        votes = _votes(chance, letter, raters + (chance.random() < 0.3))
        numbers = ((vote.arousal, vote.valence, vote.dominance) for vote in votes)
        means = (sum(map(float, column)) / len(votes) for column in zip(*numbers, strict=True))
        yield Clip(
            _stem(number),
            letter,
            *(str(round(mean, 6)) for mean in means),
            speaker=str(speaker) if is_known else "Unknown",
            gender=("Male", "Female")[speaker // len(SPLITS) % 2] if is_known else "Unknown",
            split=list(SPLITS)[position],
            votes=votes,
            transcript=" ".join(chance.choices(WORDS, k=chance.randint(3, 14))) + ".",
        )
    for number in range(test3):
        yield Clip(f"MSP-PODCAST_test3_{1 + number:04d}", split="Test3")


def write_wav(path: Path, seconds: float = 0.25, stereo: bool = False) -> None:
    """Write noise that differs from file to file, at 16 kHz mono or 44.1 kHz stereo, 16 bit."""
    rate, channels = (44100, 2) if stereo else (16000, 1)
    noise = np.random.default_rng(list(path.stem.encode())).normal(0, 2000, int(seconds * rate) * channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(noise.astype("<i2").tobytes())


def _stem(number: int) -> str:
    """Every third name has the third number."""
    podcast, segment = divmod(number, 200)
    third = f"_{number % 9:04d}" if number % 3 == 0 else ""
    return f"MSP-PODCAST_{podcast:04d}_{segment:04d}{third}"


def _votes(chance: random.Random, letter: str, count: int) -> list[Vote]:
    means = MEANS.get(letter, MEAN)
    common, votes = chance.gauss(0, 0.9), []
    for position in range(count):
        agrees = letter != "X" and position < count * 0.6 + 0.5
        primary = PRIMARY[letter if agrees else chance.choice(list(PRIMARY))]
        values = [
            min(7, max(1, round(mean + spread * (common * share + chance.gauss(0, 1)))))
            for mean, spread, share in zip(means, SPREAD, (1.0, 0.3, 0.9), strict=True)
        ]
        printed = (f"{value:.6f}" for value in values)
        votes.append(Vote(f"WORKER{chance.randrange(12000):08d}", primary, f"{primary},Concerned", *printed))
    return votes


def _write_labels(
    folder: Path, clips: list[Clip], version: str, layout: str | None, formats: Sequence[str]
) -> None:
    name = "consensus" if RELEASES.index(version) >= RELEASES.index("1.10") else "concensus"
    rows = [
        (
            f"{c.stem}.wav",
            c.emotion,
            c.arousal,
            c.valence,
            c.dominance,
            c.speaker,
            c.gender,
            _split(c, version),
        )
        for c in clips
    ]
    if "csv" in formats:
        with (folder / f"labels_{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows])
        layout = layout or ("columns" if version in ("1.6", "2.0") else "detail")
        with (folder / "labels_detailed.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows(_detailed_rows(clips, layout, "Workers" if version == "1.6" else "WorkerID"))
    if "json" in formats:
        consensus = {row[0]: dict(zip(HEADER[1:], row[1:], strict=True)) for row in rows}
        (folder / f"labels_{name}.json").write_text(json.dumps(consensus), encoding="utf-8")
        detailed = {f"{clip.stem}.wav": _detailed_record(clip) for clip in clips}
        (folder / "labels_detailed.json").write_text(json.dumps(detailed), encoding="utf-8")
    if "txt" in formats:
        blocks = ["This file holds the labels of all clips; see readme.txt.\n"]
        blocks += ["".join(f"{line}\n" for line in _block(clip)) for clip in clips]
        (folder / "labels.txt").write_text("\n".join(blocks), encoding="utf-8")


def _split(clip: Clip, version: str) -> str:
    is_old = RELEASES.index(version) <= RELEASES.index("1.8")
    return "Validation" if is_old and clip.split == "Development" else clip.split


def _detailed_rows(clips: list[Clip], layout: str, worker: str) -> Iterator[Sequence[str]]:
    if layout == "detail":
        yield "FileName", "EmoDetail"
        for clip in clips:
            for vote in clip.votes:
                yield f"{clip.stem}.wav", _line(vote)
        return
    yield "FileName", worker, "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"
    for clip in clips:
        for vote in clip.votes:
            numbers = (vote.arousal, vote.valence, vote.dominance)
            yield f"{clip.stem}.wav", vote.worker, vote.primary, vote.secondary or "", *numbers


def _detailed_record(clip: Clip) -> dict[str, dict[str, str]]:
    return {
        vote.worker: {
            "EmoClass_Major": vote.primary,
            "EmoClass_Second": vote.secondary or "",
            "EmoAct": vote.arousal,
            "EmoVal": vote.valence,
            "EmoDom": vote.dominance,
        }
        for vote in clip.votes
    }


def _block(clip: Clip) -> Iterator[str]:
    values = (clip.arousal, clip.valence, clip.dominance)
    numbers = [f"{float(value):.6f}" if value else "" for value in values]
    yield f"{clip.stem}.wav; {clip.emotion}; A:{numbers[0]}; V:{numbers[1]}; D:{numbers[2]};"
    yield from map(_line, clip.votes)


def _line(vote: Vote) -> str:
    secondary = "" if vote.secondary is None else f" {vote.secondary};"
    return (
        f"{vote.worker}; {vote.primary};{secondary} A:{vote.arousal}; V:{vote.valence}; D:{vote.dominance};"
    )


def _write_lists(top: Path, clips: list[Clip], version: str) -> None:
    """Partitions.txt names every clip, Speaker_ids.txt every speaker and every clip but those of Test3."""
    partitions = [f"{_split(clip, version)}; {clip.stem}.wav" for clip in clips if clip.in_partitions]
    (top / "Partitions.txt").write_text("\n".join(["Set FileName", *partitions, ""]), encoding="utf-8")
    genders = {
        clip.speaker: clip.gender for clip in clips if clip.speaker != "Unknown" and clip.split != "Test3"
    }
    speakers = [f"Speaker_{name}; {gender}" for name, gender in genders.items()]
    of_clips = [
        f"{clip.stem}.wav;{clip.speaker_in_list or clip.speaker}" for clip in clips if clip.split != "Test3"
    ]
    (top / "Speaker_ids.txt").write_text("\n".join([*speakers, "", *of_clips, ""]), encoding="utf-8")


def _write_words(top: Path, clips: list[Clip]) -> None:
    for clip in clips:
        if clip.transcript is not None:
            (top / "Transcripts").mkdir(exist_ok=True)
            data = clip.transcript if isinstance(clip.transcript, bytes) else clip.transcript.encode()
            (top / "Transcripts" / f"{clip.stem}.txt").write_bytes(data)
        if clip.alignment is not None:
            (top / "ForceAligned").mkdir(exist_ok=True)
            path = top / "ForceAligned" / f"{clip.stem}.TextGrid"
            path.write_text(textgrid(clip.alignment), encoding="utf-8")


def textgrid(words: Sequence[str]) -> str:
    """A Praat TextGrid in its long form: words of a tenth of a second each, and a tier of phones."""
    end = 0.1 * len(words)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end:g}"]
    lines += ["tiers? <exists>", "size = 2", "item []:"]
    for number, (name, marks) in enumerate((("words", words), ("phones", ["AH0"] * len(words))), start=1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end:g}", f"        intervals: size = {len(marks)}"]
        for position, mark in enumerate(marks):
            quoted = mark.replace('"', '""')
            lines += [f"        intervals [{position + 1}]:", f"            xmin = {0.1 * position:g}"]
            lines += [f"            xmax = {0.1 * (position + 1):g}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write a tree of invented clips without audio."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labelled", type=int, default=1000)
    parser.add_argument("--test3", type=int, default=50)
    parser.add_argument("--version", choices=RELEASES, default="2.0")
    parser.add_argument("--words", action="store_true", help="write transcripts too, a file per clip")
    arguments = parser.parse_args()
    clips = invent(arguments.labelled, arguments.test3)
    if not arguments.words:
        clips = (replace(clip, transcript=None) for clip in clips)
    print(write_tree(arguments.folder, clips, arguments.version, audio=False))


if __name__ == "__main__":
    main()
