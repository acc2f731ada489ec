"""CREMA-D: 91 actors speak twelve English sentences in six emotions; crowds say what they heard.

Origin: Cao, Cooper, Keutmann, Gur, Nenkova and Verma, "CREMA-D: Crowd-sourced Emotional Multimodal Actors
Dataset", IEEE Transactions on Affective Computing 5(4), 2014. 7442 clips, 48 men and 43 women.
Licence: Open Database License 1.0, contents under the Database Contents License 1.0.
How to obtain: `git lfs clone` the repository CheyneyComputerScience/CREMA-D (or its GitLab mirror); give
its top folder. A folder of the wav files alone works for the acted label.
Split: none official. `split` is ours: 56 train, 18 development and 17 test actors (the sizes of
audEERING's unofficial split), none in two, as many women as men in proportion, drawn with --split-seed.
`fold` is 1..5, made of the same order of actors. Neither depends on which files are present.

File names are ACTOR_SENTENCE_EMOTION_LEVEL.wav. There are two labels, and they are different things: what
the actor was asked for, and what listeners of the voice alone voted for. --label says which becomes
`emotion`; both are in `meta`, and the voters' shares are in `emotion_probs` either way. There is no
valence, arousal or dominance. `meta` of a clip: sentence, acted, level (low, medium, high, unspecified),
voice_vote, voice_agreement, voice_responses, voice_levels (mean intensity of each emotion, 0..100), age,
race, ethnicity.

Traps:
- Asked-for and heard emotion agree in 45.6 % of the clips that have no tied vote.
- 644 clips have a tied vote, written "A:D" in summaryTable.csv with as many levels, "37.2:58.6". With
  --label voice-vote they are no_agreement, and flagged.
- tabulatedVotes.csv has three rows per clip. The first digit of the nameless first column says what was
  judged: 1 voice, 2 face, 3 both. A level of -1 means that nobody chose this emotion.
- Low, medium and high were asked for with the sentence IEO only; everything else is XX, unspecified.
- 1076_MTI_SAD_XX.wav has no sound. Of three more clips only the mp3 that the voters heard is broken:
  their votes are not about the wav.
- Three pairs of clips are byte for byte the same under two emotions (1006_TIE_HAP_XX and NEU,
  1013_WSI_DIS_XX and SAD, 1017_IWW_ANG_XX and FEA); `prepare` flags what is the same.
- A copy without Git-LFS has 131-byte stubs in place of the sound.
"""

import argparse
import random
import re
from collections import Counter
from pathlib import Path

from multimodal_ser.corpora.audio_files import STUB
from multimodal_ser.corpora.crema_d_votes import VoiceVote, read_votes
from multimodal_ser.corpora.reading import (
    Reading,
    checked_folder,
    is_lfs_stub,
    read_table,
    relative,
    subfolder,
)
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

LABELS = ("acted", "voice-vote")
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
NAME = re.compile(
    rf"(?!1000)(10[0-8][0-9]|109[01])_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_({'|'.join(LEVELS)})"
)
ACTORS = range(1001, 1092)
# From VideoDemographics.csv. They stand here because the split is balanced by gender and must not change when
# that file is absent.
WOMEN = frozenset((
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028,
    1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063,
    1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
))  # fmt: skip
SPLIT_ACTORS = {"train": 56, "development": 18, "test": 17}
FOLDS = 5
CLIPS_PER_ACTOR = 82
FEWER_CLIPS = {1002: 81, 1008: 76, 1009: 76, 1019: 76, 1076: 81}
SILENT = "1076_MTI_SAD_XX"
HEARD_BROKEN = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX")
LISTS = (("SentenceFilenames.csv", "Filename"), ("processedResults/summaryTable.csv", "FileName"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label",
        choices=LABELS,
        default="acted",
        help="what becomes the emotion: what the actor was asked for, or what listeners voted for",
    )
    parser.add_argument("--split-seed", type=int, default=0, help="draws the actors of train and test")


def read(folder: Path, label: str = "acted", split_seed: int = 0) -> Reading:
    """Read CREMA-D from the top folder of its repository, or from a folder of its wav files."""
    if label not in LABELS:
        raise InputError(f"unknown label '{label}'; known: {', '.join(LABELS)}")
    folder = checked_folder(folder)
    places, listed = _places(folder)
    votes = read_votes(folder)
    if label == "voice-vote" and not votes:
        raise InputError(
            f"--label voice-vote needs processedResults/tabulatedVotes.csv or summaryTable.csv in {folder}; "
            "give the top folder of the repository, or choose --label acted"
        )
    assigned = actor_splits(split_seed)
    reading = Reading(
        Header(corpus="crema-d", licence="ODbL 1.0"),
        expected=_expected(assigned),
        expected_from="the repository's README and SentenceFilenames.csv; the split is ours",
    )
    actors = _demographics(folder)
    for name, where in places.items():
        if match := NAME.fullmatch(name):
            utterance = _utterance(match, where, label, votes.get(name), actors.get(match[1], {}), assigned)
            _keep(reading, utterance, folder, label, votes.get(name))
            if listed and name not in listed:
                reading.flag(name, "not in the corpus' own list of clips")
        else:
            reading.drop(name, "the name does not follow the corpus' pattern", where)
    _check_stubs(reading, folder)
    reading.notes += _notes(reading, label, votes)
    return reading


def actor_splits(seed: int) -> dict[str, tuple[str, int]]:
    """Each of the 91 actors with split and fold, the same for the same seed.

    Both genders are shuffled and then spread evenly over one line of actors, so that every stretch of the
    line is balanced; splits and folds are stretches.
    """
    draw = random.Random(seed)
    line: list[tuple[float, int]] = []
    for is_group in (WOMEN.__contains__, lambda actor: actor not in WOMEN):
        group = list(filter(is_group, ACTORS))
        draw.shuffle(group)
        line += [((place + 0.5) / len(group), actor) for place, actor in enumerate(group)]
    names = [name for name, count in SPLIT_ACTORS.items() for _ in range(count)]
    return {
        str(actor): (names[place], 1 + place * FOLDS // len(line))
        for place, (_, actor) in enumerate(sorted(line))
    }


def _expected(assigned: dict[str, tuple[str, int]]) -> dict[str, int]:
    expected: Counter[str] = Counter()
    for actor, (split, _) in assigned.items():
        expected[split] += FEWER_CLIPS.get(int(actor), CLIPS_PER_ACTOR)
    return {**expected, "total": expected.total()}


def _places(folder: Path) -> tuple[dict[str, str], set[str]]:
    """Where each clip lies or should lie, by name and in order, and the names that the corpus lists."""
    audio_folder = subfolder(folder, "AudioWAV")
    if audio_folder is None and folder.name.lower() == "audiowav" and (folder.parent / LISTS[1][0]).is_file():
        raise InputError(f"{folder} holds the sound only; give the folder above it: {folder.parent}")
    files = (path for path in (audio_folder or folder).iterdir() if path.suffix.lower() == ".wav")
    found = {path.stem: relative(path, folder) for path in files if not path.name.startswith(".")}
    listed: set[str] = set()
    for name, column in LISTS:
        if (folder / name).is_file():
            listed |= {row[column] for row in read_table(folder / name, (column,))}
    if not found and not listed:
        raise InputError(
            f"no CREMA-D clip in {folder}: expected AudioWAV/1001_DFA_ANG_XX.wav and so on. "
            "Give the top folder of the repository, which holds AudioWAV and processedResults"
        )
    expected_in = relative(audio_folder, folder) if audio_folder else "AudioWAV"
    return {
        name: found.get(name, f"{expected_in}/{name}.wav") for name in sorted(listed | found.keys())
    }, listed


def _demographics(folder: Path) -> dict[str, dict[str, object]]:
    """Age, race and ethnicity by actor, without what is unknown."""
    path = folder / "VideoDemographics.csv"
    if not path.is_file():
        return {}
    actors: dict[str, dict[str, object]] = {}
    for row in read_table(path, ("ActorID", "Age", "Sex", "Race", "Ethnicity")):
        known = {key.lower(): row[key] for key in ("Race", "Ethnicity") if row[key] not in ("", "Unknown")}
        age = {"age": int(row["Age"])} if row["Age"].isdecimal() else {}
        actors[row["ActorID"]] = {**age, **known}
    return actors


def _utterance(
    match: re.Match[str],
    where: str,
    label: str,
    vote: VoiceVote | None,
    actor: dict[str, object],
    assigned: dict[str, tuple[str, int]],
) -> Utterance:
    speaker, sentence, code, level = match.groups()
    split, fold = assigned[speaker]
    acted = EMOTIONS[code]
    return Utterance(
        id=match[0],
        corpus="crema-d",
        audio=where,
        speaker=speaker,
        gender="female" if int(speaker) in WOMEN else "male",
        split=split,
        fold=fold,
        text=SENTENCES[sentence],
        text_source="reference",
        emotion=acted if label == "acted" else vote and vote.emotion,
        emotion_probs=vote and vote.shares,
        label_source="acted" if label == "acted" else "rated",
        meta={
            "sentence": sentence,
            "acted": acted,
            "level": LEVELS[level],
            **(vote.meta() if vote else {}),
            **actor,
        },
    )


def _keep(reading: Reading, utterance: Utterance, folder: Path, label: str, vote: VoiceVote | None) -> None:
    """Keep an utterance unless its audio is a stub, and flag what is known to be wrong with it."""
    path = folder / utterance.audio
    if path.is_file() and is_lfs_stub(path):
        reading.drop(utterance.id, STUB, f"{utterance.audio}: run `git lfs pull`", split=utterance.split)
        return
    reading.utterances.append(utterance)
    if utterance.id == SILENT:
        reading.flag(utterance.id, "no sound, in every copy of the corpus")
    if utterance.id in HEARD_BROKEN and vote:
        reading.flag(utterance.id, "the voters heard a broken mp3, so their vote is not about this wav")
    if label == "voice-vote" and vote is None:
        reading.flag(utterance.id, "no voice vote")
    elif label == "voice-vote" and vote.is_tied:
        reading.flag(utterance.id, "tied voice vote", ", ".join(vote.winners))
    if vote and vote.disagreement:
        reading.flag(utterance.id, "the two tables of votes disagree", vote.disagreement)


def _check_stubs(reading: Reading, folder: Path) -> None:
    stubs = sum(remark.reason == STUB for remark in reading.dropped)
    if stubs and not any((folder / u.audio).is_file() for u in reading.utterances):
        raise InputError(
            f"all {stubs} wav files in {folder} are Git-LFS stubs, text of 131 bytes in place of sound: "
            "install git-lfs and run `git lfs pull` there"
        )
    if stubs:
        reading.notes.append(f"{stubs} wav files are Git-LFS stubs; run `git lfs pull` in the corpus folder")


def _notes(reading: Reading, label: str, votes: dict[str, VoiceVote]) -> list[str]:
    other = LABELS[1 - LABELS.index(label)]
    notes = [f"label: {label}; the other choice is --label {other}"]
    decided = {name: vote for name, vote in votes.items() if not vote.is_tied and NAME.fullmatch(name)}
    if decided:
        agree = sum(EMOTIONS[name.split("_")[2]] == vote.emotion for name, vote in decided.items())
        notes.append(
            f"the listeners heard what was acted in {agree / len(decided):.1%} of the {len(decided)} clips "
            f"without a tied vote; {len(votes) - len(decided)} votes are tied"
        )
    else:
        notes.append("no table of votes, so there are no vote shares and no listeners' label")
    notes.append("there is no official split: 56/18/17 actors by --split-seed, or --fold 1 ... 5")
    return notes
