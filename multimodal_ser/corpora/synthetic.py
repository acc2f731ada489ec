"""A corpus whose truth is planted, so that a test can know what a model should find.

Arousal can only be heard, valence only be read, and dominance is the mean of two independent halves, one in
the voice and one in the words: see `voice.py` and `grammar.py`. Arousal, valence and both halves are drawn
independently for every utterance; a speaker has habits (pitch, vocal tract, tempo, level) but no mood.
Five simulated raters score every utterance in whole steps from 1 to 7, and the label is their mean; `meta`
keeps what was planted. Speakers are in one split only. For a podcast of such speech see `episode.py`.

The same seed gives the same corpus in any number of jobs: every utterance has random numbers of its own, from
(seed, speaker, take). A larger corpus begins with the smaller one of the same seed, and files that are there
already are kept. The sound of an utterance is the file `audio/<speaker>/<id>.flac` in the corpus folder.
"""

import argparse
import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from multimodal_ser.cache import atomic_path, write_json
from multimodal_ser.corpora.episode import SAMPLE_RATES, SUFFIXES, Episode, make_episode
from multimodal_ser.corpora.grammar import sentence
from multimodal_ser.corpora.planting import Planted, emotion_of, mean_rating, rated, votes
from multimodal_ser.corpora.reading import Reading, folds_of
from multimodal_ser.corpora.source_filter import SAMPLE_RATE
from multimodal_ser.corpora.voice import make_speaker, speak
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

CORPUS = "synthetic"
VERSION = "1"  # of the generator: another one gives other sound or other words for the same seed
LICENCE = "CC0-1.0 (generated)"
STAMP = "synthetic.json"  # in the corpus folder: what its audio was made from
SPEAKERS, UTTERANCES_PER_SPEAKER = 40, 25
EPISODE_MINUTES = 5.0
SECONDS = (2.0, 8.0)  # shortest and longest utterance
FOLDS = 5
HELD_OUT_SHARE = 0.15  # of the speakers, for each of development and test
_SPEAKER, _TRUTH, _VOICE = range(3)  # kinds of random numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `prepare synthetic`."""
    parser.add_argument("--speakers", type=int, default=SPEAKERS, help="how many speakers")
    parser.add_argument(
        "--utterances", type=int, default=UTTERANCES_PER_SPEAKER, help="utterances per speaker"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed makes another corpus")
    parser.add_argument(
        "--workers", type=int, default=1, help="threads that generate; the result is the same"
    )
    parser.add_argument(
        "--episode",
        type=float,
        nargs="?",
        const=EPISODE_MINUTES,
        metavar="MINUTES",
        help=f"also make a podcast of this length ({EPISODE_MINUTES:g} if none is said), with transcripts",
    )
    parser.add_argument(
        "--episode-format", choices=[s[1:] for s in SUFFIXES], default="mp3", help="its format"
    )
    parser.add_argument(
        "--episode-rate", type=int, choices=SAMPLE_RATES, default=44_100, help="its sampling rate in hertz"
    )
    parser.add_argument("--episode-speakers", type=int, default=3, help="how many people talk in it")
    parser.add_argument(
        "--only-episode",
        action="store_true",
        help="make no corpus; the manifest lists the episode's sentences",
    )


def read(
    folder: str | os.PathLike,
    *,
    speakers: int = SPEAKERS,
    utterances: int = UTTERANCES_PER_SPEAKER,
    seed: int = 0,
    workers: int = 1,
    episode: float | None = None,
    episode_format: str = "mp3",
    episode_rate: int = 44_100,
    episode_speakers: int = 3,
    only_episode: bool = False,
) -> Reading:
    """Make the corpus in `folder`, which need not exist, and an episode of `episode` minutes beside it."""
    made = None
    if only_episode or episode is not None:
        made = make_episode(
            Path(folder) / f"episode.{episode_format}",
            minutes=EPISODE_MINUTES if episode is None else episode,
            speakers=episode_speakers,
            sample_rate=episode_rate,
            seed=seed,
        )
    if made is not None and only_episode:
        reading = Reading(Header(CORPUS, VERSION, licence=LICENCE), _sentences_of(made))
    else:
        reading = generate(
            folder, speakers=speakers, utterances_per_speaker=utterances, seed=seed, jobs=workers
        )
    if made is not None:
        names = ", ".join(path.name for path in made.files.values())
        reading.notes.append(f"{made.audio.name}: {made.seconds / 60:.1f} minutes, with {names}")
    return reading


def generate(
    folder: str | os.PathLike,
    *,
    speakers: int = SPEAKERS,
    utterances_per_speaker: int = UTTERANCES_PER_SPEAKER,
    seed: int = 0,
    jobs: int = 1,
) -> Reading:
    """Make a corpus in `folder` and describe it; audio that is there already is kept."""
    _check_at_least("speakers", speakers, 3, "; train, development and test need one each")
    _check_at_least("utterances", utterances_per_speaker, 1)
    _check_at_least("seed", seed, 0)
    _check_at_least("workers", jobs, 1)
    folder = Path(folder)
    _claim(folder, seed)
    takes = [(speaker, take) for speaker in range(speakers) for take in range(utterances_per_speaker)]
    splits, folds = _splits(speakers, seed), _folds(speakers, seed)
    with ThreadPoolExecutor(jobs) as pool:
        made = pool.map(partial(_made, folder, seed), takes)
        made = tqdm(made, total=len(takes), desc="speaking", unit="utterance", disable=None)
        utterances = [
            _described(seed, speaker, take, splits[speaker], folds[speaker])
            for (speaker, take), _ in zip(takes, made, strict=True)
        ]
    reading = Reading(Header(CORPUS, VERSION, licence=LICENCE), utterances)
    counts = Counter(splits)
    reading.notes.append(
        f"{speakers} speakers ({counts['train']} train, {counts['development']} development, "
        f"{counts['test']} test), seed {seed}: generated, every label is planted"
    )
    return reading


def _sentences_of(episode: Episode) -> list[Utterance]:
    """The sentences of an episode as utterances of the test split, cut out of the one file."""
    return [
        Utterance(
            id=f"{episode.audio.stem}_{number:05d}",
            corpus=CORPUS,
            audio=episode.audio.name,
            start=event.start,
            end=event.end,
            speaker=event.speaker,
            split="test",
            text=event.text,
            text_source="reference",
            emotion=emotion_of(event.arousal, event.valence),
            arousal=event.arousal,
            valence=event.valence,
            dominance=event.dominance,
            label_source="planted",
        )
        for number, event in enumerate(episode.speech, start=1)
    ]


def _check_at_least(option: str, value: int, least: int, why: str = "") -> None:
    if value < least:
        raise InputError(f"--{option} {value}: must be at least {least}{why}")


def _speaker_rng(seed: int, speaker: int) -> np.random.Generator:
    return np.random.default_rng([seed, _SPEAKER, speaker])


def _gender(speaker: int) -> str:
    return ("female", "male")[speaker % 2]


def _name(speaker: int) -> str:
    return f"s{speaker:03d}"


def _audio(speaker: int, take: int) -> str:
    return f"audio/{_name(speaker)}/{_name(speaker)}_{take:04d}.flac"


def _planted(seed: int, speaker: int, take: int) -> tuple[Planted, str, list[dict[str, float]]]:
    """The truth of an utterance, its text, and what the raters say: all but the sound."""
    rng = np.random.default_rng([seed, _TRUTH, speaker, take])
    truth = Planted.draw(rng)
    return truth, sentence(truth.valence, truth.dominance_words, rng), rated(truth, rng)


def _made(folder: Path, seed: int, which: tuple[int, int]) -> None:
    """Write the sound of one utterance unless it is there."""
    speaker, take = which
    path = folder / _audio(speaker, take)
    if path.exists():
        return
    truth, text, _ = _planted(seed, speaker, take)
    habits = make_speaker(_speaker_rng(seed, speaker), _gender(speaker))
    rng = np.random.default_rng([seed, _VOICE, speaker, take])
    speech = speak(text, habits, truth.manner, rng, seconds=SECONDS)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, speech.waveform, SAMPLE_RATE, subtype="PCM_16", format="FLAC")


def _described(seed: int, speaker: int, take: int, split: str, fold: int) -> Utterance:
    truth, text, ratings = _planted(seed, speaker, take)
    emotion, shares = votes(ratings, truth)
    return Utterance(
        id=f"{_name(speaker)}_{take:04d}",
        corpus=CORPUS,
        audio=_audio(speaker, take),
        speaker=_name(speaker),
        gender=_gender(speaker),
        split=split,
        fold=fold,
        text=text,
        text_source="reference",
        emotion=emotion,
        emotion_probs=shares,
        **mean_rating(ratings),
        label_source="planted",
        ratings=ratings,
        meta=truth.as_meta(),
    )


def _splits(speakers: int, seed: int) -> list[str]:
    """The split of every speaker; women and men take turns in the order of dealing out."""
    held_out = max(1, round(HELD_OUT_SHARE * speakers))
    rng = np.random.default_rng([seed, _SPEAKER])
    order = rng.permutation(speakers)
    women, men = ([int(s) for s in order if _gender(s) == gender] for gender in ("female", "male"))
    dealt = [s for pair in zip(women, men, strict=False) for s in pair]
    dealt += women[len(men) :]
    names = ["train"] * speakers
    for place, speaker in enumerate(dealt[: 2 * held_out]):
        names[speaker] = "test" if place < held_out else "development"
    return names


def _folds(speakers: int, seed: int) -> list[int]:
    folds = folds_of(map(_name, range(speakers)), min(FOLDS, speakers), seed)
    return [folds[_name(speaker)] for speaker in range(speakers)]


def _claim(folder: Path, seed: int) -> None:
    """Mark `folder` as holding this seed's audio, or refuse it if it holds another's."""
    stamp = folder / STAMP
    wanted = {"corpus": CORPUS, "version": VERSION, "seed": seed}
    if stamp.exists():
        try:
            found: Any = json.loads(stamp.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            raise InputError(
                f"{folder} holds other generated audio ({stamp.name} says {found}, wanted {wanted}); "
                "give another folder or delete this one"
            )
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"not a folder: {folder}; give the folder in which the corpus is to be made")
    if (folder / "audio").exists():
        raise InputError(
            f"{folder} holds a folder 'audio' that was not generated here ({STAMP} is missing); "
            "give another folder, so that nothing is mixed up"
        )
    write_json(stamp, wanted)
