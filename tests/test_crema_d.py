"""CREMA-D's reader on a miniature of the repository with every known trap, and on the real tables."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser.corpora import checks, crema_d
from multimodal_ser.corpora.audio_files import AudioFacts
from multimodal_ser.corpora.reading import Reading, Remark
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

REAL = Path(__file__).parents[2] / "shared" / "data" / "crema_d"
STUB = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 72862\n"

DEMOGRAPHICS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1003,21,"Female","Caucasian","Not Hispanic"
1047,22,"Female","Unknown","Hispanic"
1064,53,"Male","African American","Not Hispanic"
1076,25,"Female","Asian","Not Hispanic"
"""
LISTED = """"Stimulus_Number","Filename"
1,"1001_DFA_ANG_XX"
2,"1001_IEO_ANG_MD"
3,"1003_ITS_FEA_XX"
4,"1047_TIE_NEU_XX"
5,"1064_IEO_DIS_MD"
6,"1076_MTI_SAD_XX"
7,"1002_TSI_HAP_XX"
"""
SUMMARY = """"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"
"1","1001_DFA_ANG_XX","A","47.33","D","60","A","41.5"
"2","1001_IEO_ANG_MD","A:D","37.2:58.6","A","45.5","A","44.2"
"3","1003_ITS_FEA_XX","S","61.6","F","57.25","F","62.8"
"4","1047_TIE_NEU_XX","N","70","N","71","N","72"
"5","1064_IEO_DIS_MD","S","66","S","66","D","70.91"
"6","1076_MTI_SAD_XX","N","59.8","S","61","S","59.12"
"7","1002_TSI_HAP_XX","H:N:S","56.67:50.33:41.67","H","61.6","H","58.88"
"""
# Clip, modality, counts of A D F H N S, vote, mean levels of A D F H N S.
VOTES = [
    ("1001_DFA_ANG_XX", 1, (6, 2, 0, 0, 1, 0), "A", (47.3333333333333, 59.5, -1, -1, 89, -1)),
    ("1001_IEO_ANG_MD", 1, (5, 5, 0, 0, 0, 0), "A:D", (37.2, 58.6, -1, -1, -1, -1)),
    ("1003_ITS_FEA_XX", 1, (0, 1, 4, 0, 0, 5), "S", (-1, 45, 52, -1, -1, 61.6)),
    ("1047_TIE_NEU_XX", 1, (0, 0, 0, 0, 8, 0), "N", (-1, -1, -1, -1, 70, -1)),
    ("1064_IEO_DIS_MD", 1, (2, 6, 0, 0, 2, 0), "D", (32, 67.5, -1, -1, 59, -1)),
    ("1076_MTI_SAD_XX", 1, (0, 1, 0, 0, 3, 0), "N", (-1, 51, -1, -1, 59.8, -1)),
    ("1002_TSI_HAP_XX", 1, (0, 0, 0, 3, 3, 3), "H:N:S", (-1, -1, -1, 56.67, 50.33, 41.67)),
    ("1001_DFA_ANG_XX", 2, (0, 9, 0, 0, 0, 0), "D", (-1, 60, -1, -1, -1, -1)),
    ("1001_DFA_ANG_XX", 3, (0, 0, 0, 9, 0, 0), "H", (-1, -1, -1, 99, -1, -1)),
]


def tabulated(votes: list[tuple]) -> str:
    names = ("Emo", "Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
    header = ["", *"ADFHNS", "fileName", "numResponses", "agreement", "emoVote"]
    lines = [header + [f"mean{name}Resp" for name in names] + ["medianEmoResp", "meanEmoRespNorm"]]
    for number, (clip, modality, counts, vote, levels) in enumerate(votes, start=1):
        total = sum(counts)
        cells = [f"{modality}{number:05}", *counts, clip, total, max(counts) / total, vote, 50, *levels, 50]
        lines.append([*cells, "NA"])
    return "".join(
        ",".join(f'"{c}"' if isinstance(c, str) else str(c) for c in line) + "\n" for line in lines
    )


def write_wav(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 1600) if seed else np.zeros(1600)
    soundfile.write(path, noise, 16000, subtype="PCM_16")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A clone of which two wav files are there, one is a stub, and one is missing."""
    folder = tmp_path / "CREMA-D"
    results = folder / "processedResults"
    results.mkdir(parents=True)
    (folder / "VideoDemographics.csv").write_text(DEMOGRAPHICS)
    (folder / "SentenceFilenames.csv").write_text(LISTED)
    (results / "summaryTable.csv").write_text(SUMMARY)
    (results / "tabulatedVotes.csv").write_text(tabulated(VOTES))
    audio = folder / "AudioWAV"
    names = ("1001_DFA_ANG_XX", "1001_IEO_ANG_MD", "1064_IEO_DIS_MD", "1047_TIE_NEU_XX", "1001_TSI_SAD_XX")
    for seed, name in enumerate(names, start=1):
        write_wav(audio / f"{name}.wav", seed)
    write_wav(audio / "1076_MTI_SAD_XX.wav", seed=0)
    write_wav(audio / "1000_DFA_ANG_XX.wav", seed=9)
    (audio / "1003_ITS_FEA_XX.wav").write_bytes(STUB)
    (audio / "._1001_DFA_ANG_XX.wav").write_bytes(b"left behind by macOS")
    (folder / "AudioMP3").mkdir()
    (folder / "AudioMP3" / "1001_DFA_ANG_XX.mp3").write_bytes(STUB)
    return folder


def clip(name: str, **known: object) -> Utterance:
    return Utterance(
        id=name,
        corpus="crema-d",
        audio=f"AudioWAV/{name}.wav",
        speaker=name[:4],
        text_source="reference",
        label_source="acted",
        **known,
    )


EXPECTED = [
    clip(
        "1001_DFA_ANG_XX",
        gender="male",
        split="test",
        fold=5,
        text="Don't forget a jacket.",
        emotion="anger",
        emotion_probs={"anger": 0.666667, "disgust": 0.222222, "neutral": 0.111111},
        meta={
            "sentence": "DFA",
            "acted": "anger",
            "level": "unspecified",
            "voice_vote": ["anger"],
            "voice_agreement": 0.666667,
            "voice_responses": 9,
            "voice_levels": {"anger": 47.333333, "disgust": 59.5, "neutral": 89.0},
            "age": 51,
            "race": "Caucasian",
            "ethnicity": "Not Hispanic",
        },
    ),
    clip(
        "1001_IEO_ANG_MD",
        gender="male",
        split="test",
        fold=5,
        text="It's eleven o'clock.",
        emotion="anger",
        emotion_probs={"anger": 0.5, "disgust": 0.5},
        meta={
            "sentence": "IEO",
            "acted": "anger",
            "level": "medium",
            "voice_vote": ["anger", "disgust"],
            "voice_agreement": 0.5,
            "voice_responses": 10,
            "voice_levels": {"anger": 37.2, "disgust": 58.6},
            "age": 51,
            "race": "Caucasian",
            "ethnicity": "Not Hispanic",
        },
    ),
    clip(  # on disk, but in none of the corpus' tables
        "1001_TSI_SAD_XX",
        gender="male",
        split="test",
        fold=5,
        text="The surface is slick.",
        emotion="sadness",
        meta={
            "sentence": "TSI",
            "acted": "sadness",
            "level": "unspecified",
            "age": 51,
            "race": "Caucasian",
            "ethnicity": "Not Hispanic",
        },
    ),
    clip(  # in the tables, but not on disk; the actor is not in VideoDemographics.csv
        "1002_TSI_HAP_XX",
        gender="female",
        split="train",
        fold=1,
        text="The surface is slick.",
        emotion="happiness",
        emotion_probs={"happiness": 0.333333, "neutral": 0.333333, "sadness": 0.333333},
        meta={
            "sentence": "TSI",
            "acted": "happiness",
            "level": "unspecified",
            "voice_vote": ["happiness", "neutral", "sadness"],
            "voice_agreement": 0.333333,
            "voice_responses": 9,
            "voice_levels": {"happiness": 56.67, "neutral": 50.33, "sadness": 41.67},
        },
    ),
    clip(  # race "Unknown"
        "1047_TIE_NEU_XX",
        gender="female",
        split="train",
        fold=2,
        text="That is exactly what happened.",
        emotion="neutral",
        emotion_probs={"neutral": 1.0},
        meta={
            "sentence": "TIE",
            "acted": "neutral",
            "level": "unspecified",
            "voice_vote": ["neutral"],
            "voice_agreement": 1.0,
            "voice_responses": 8,
            "voice_levels": {"neutral": 70.0},
            "age": 22,
            "ethnicity": "Hispanic",
        },
    ),
    clip(
        "1064_IEO_DIS_MD",
        gender="male",
        split="test",
        fold=5,
        text="It's eleven o'clock.",
        emotion="disgust",
        emotion_probs={"anger": 0.2, "disgust": 0.6, "neutral": 0.2},
        meta={
            "sentence": "IEO",
            "acted": "disgust",
            "level": "medium",
            "voice_vote": ["disgust"],
            "voice_agreement": 0.6,
            "voice_responses": 10,
            "voice_levels": {"anger": 32.0, "disgust": 67.5, "neutral": 59.0},
            "age": 53,
            "race": "African American",
            "ethnicity": "Not Hispanic",
        },
    ),
    clip(
        "1076_MTI_SAD_XX",
        gender="female",
        split="train",
        fold=3,
        text="Maybe tomorrow it will be cold.",
        emotion="sadness",
        emotion_probs={"disgust": 0.25, "neutral": 0.75},
        meta={
            "sentence": "MTI",
            "acted": "sadness",
            "level": "unspecified",
            "voice_vote": ["neutral"],
            "voice_agreement": 0.75,
            "voice_responses": 4,
            "voice_levels": {"disgust": 51.0, "neutral": 59.8},
            "age": 25,
            "race": "Asian",
            "ethnicity": "Not Hispanic",
        },
    ),
]


def test_miniature_corpus_becomes_the_literal_table(corpus: Path) -> None:
    assert crema_d.read(corpus).utterances == EXPECTED


def test_every_utterance_is_valid(corpus: Path) -> None:
    assert [problems_of(utterance) for utterance in crema_d.read(corpus).utterances] == [[]] * len(EXPECTED)


def test_what_cannot_be_used_is_dropped_with_its_reason(corpus: Path) -> None:
    assert crema_d.read(corpus).dropped == [
        Remark(
            "1000_DFA_ANG_XX",
            "the name does not follow the corpus' pattern",
            "AudioWAV/1000_DFA_ANG_XX.wav",
            failed=True,
        ),
        Remark(
            "1003_ITS_FEA_XX",
            "audio is a Git-LFS stub",
            "AudioWAV/1003_ITS_FEA_XX.wav: run `git lfs pull`",
            split="train",
            failed=True,
        ),
    ]


def flags(reading: Reading) -> set[tuple[str, str]]:
    return {(remark.id, remark.reason) for remark in reading.flagged}


KNOWN_FLAWS = {
    ("1001_TSI_SAD_XX", "not in the corpus' own list of clips"),
    ("1064_IEO_DIS_MD", "the voters heard a broken mp3, so their vote is not about this wav"),
    ("1064_IEO_DIS_MD", "the two tables of votes disagree"),
    ("1076_MTI_SAD_XX", "no sound, in every copy of the corpus"),
}


def test_known_flaws_are_flagged(corpus: Path) -> None:
    assert flags(crema_d.read(corpus)) == KNOWN_FLAWS


def test_voice_vote_replaces_the_label_and_flags_ties(corpus: Path) -> None:
    reading = crema_d.read(corpus, label="voice-vote")
    assert [(u.id, u.emotion) for u in reading.utterances] == [
        ("1001_DFA_ANG_XX", "anger"),
        ("1001_IEO_ANG_MD", "no_agreement"),
        ("1001_TSI_SAD_XX", None),
        ("1002_TSI_HAP_XX", "no_agreement"),
        ("1047_TIE_NEU_XX", "neutral"),
        ("1064_IEO_DIS_MD", "disgust"),
        ("1076_MTI_SAD_XX", "neutral"),
    ]
    assert {u.label_source for u in reading.utterances} == {"rated"}
    assert flags(reading) - KNOWN_FLAWS == {
        ("1001_IEO_ANG_MD", "tied voice vote"),
        ("1002_TSI_HAP_XX", "tied voice vote"),
        ("1001_TSI_SAD_XX", "no voice vote"),
    }
    assert "anger, disgust" in {remark.detail for remark in reading.flagged}


def test_summary_table_alone_gives_votes_without_shares(corpus: Path) -> None:
    (corpus / "processedResults" / "tabulatedVotes.csv").unlink()
    tied = next(u for u in crema_d.read(corpus, label="voice-vote").utterances if u.id == "1001_IEO_ANG_MD")
    assert (tied.emotion, tied.emotion_probs) == ("no_agreement", None)
    assert tied.meta["voice_vote"] == ["anger", "disgust"]
    assert tied.meta["voice_levels"] == {"anger": 37.2, "disgust": 58.6}


def test_notes_say_how_often_listeners_hear_what_was_acted(corpus: Path) -> None:
    # Without a tie: 1001_DFA, 1047 and 1064 are heard as acted; 1003 and 1076 are not.
    notes = " ".join(crema_d.read(corpus).notes)
    assert "in 60.0% of the 5 clips without a tied vote; 2 votes are tied" in notes
    assert "label: acted; the other choice is --label voice-vote" in notes
    assert "1 wav files are Git-LFS stubs" in notes


def test_a_folder_of_wav_files_alone_gives_acted_labels(corpus: Path, tmp_path: Path) -> None:
    flat = tmp_path / "crema"
    flat.mkdir()
    (flat / "1001_IEO_ANG_MD.WAV").write_bytes((corpus / "AudioWAV" / "1001_IEO_ANG_MD.wav").read_bytes())
    (utterance,) = crema_d.read(flat).utterances
    assert (utterance.audio, utterance.emotion) == ("1001_IEO_ANG_MD.WAV", "anger")
    assert (utterance.gender, utterance.split, utterance.emotion_probs) == ("male", "test", None)


def test_two_clips_with_the_same_bytes_are_flagged(corpus: Path) -> None:
    original, twin = "AudioWAV/1047_TIE_NEU_XX.wav", "AudioWAV/1047_TIE_HAP_XX.wav"
    (corpus / twin).write_bytes((corpus / original).read_bytes())
    reading = crema_d.read(corpus)
    facts = {name: AudioFacts(name, size=(corpus / name).stat().st_size) for name in (original, twin)}
    checks.flag_same_audio(reading, corpus, facts)
    assert ("1047_TIE_NEU_XX", "same audio as another utterance") in flags(reading)


def test_splits_have_56_18_and_17_actors_in_both_genders() -> None:
    assigned = crema_d.actor_splits(seed=3)
    assert sorted(map(int, assigned)) == list(range(1001, 1092))
    actors = Counter(split for split, _ in assigned.values())
    assert actors == {"train": 56, "development": 18, "test": 17}
    women = Counter(split for actor, (split, _) in assigned.items() if int(actor) in crema_d.WOMEN)
    for split, count in actors.items():
        assert abs(women[split] / count - 43 / 91) < 0.05
    assert sorted(Counter(fold for _, fold in assigned.values()).values()) == [18, 18, 18, 18, 19]


def test_splits_depend_on_the_seed_only(corpus: Path) -> None:
    assert crema_d.actor_splits(1) == crema_d.actor_splits(1) != crema_d.actor_splits(2)
    splits = {u.speaker: u.split for u in crema_d.read(corpus, split_seed=7).utterances}
    assert splits == {speaker: crema_d.actor_splits(7)[speaker][0] for speaker in splits}


def test_published_counts_add_up() -> None:
    expected = crema_d._expected(crema_d.actor_splits(5))
    assert expected["total"] == 7442 == expected["train"] + expected["development"] + expected["test"]


def test_nothing_but_stubs_is_an_error_that_names_git_lfs(corpus: Path) -> None:
    for path in (corpus / "AudioWAV").glob("1*.wav"):
        path.write_bytes(STUB)
    (corpus / "AudioWAV" / "1000_DFA_ANG_XX.wav").unlink()
    with pytest.raises(InputError, match=r"all 7 wav files .* are Git-LFS stubs.*`git lfs pull`"):
        crema_d.read(corpus)


def test_the_audio_folder_alone_is_the_wrong_level(corpus: Path) -> None:
    with pytest.raises(InputError, match="holds the sound only; give the folder above it"):
        crema_d.read(corpus / "AudioWAV")


def test_another_corpus_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match=r"no CREMA-D clip in .*expected AudioWAV/1001_DFA_ANG_XX\.wav"):
        crema_d.read(tmp_path)


def test_voice_votes_need_a_table(corpus: Path) -> None:
    for path in (corpus / "processedResults").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="--label voice-vote needs processedResults/"):
        crema_d.read(corpus, label="voice-vote")


def test_a_missing_column_is_named(corpus: Path) -> None:
    (corpus / "processedResults" / "summaryTable.csv").write_text('"","FileName","FaceVote"\n')
    with pytest.raises(InputError, match=r"summaryTable\.csv: no column 'VoiceVote'"):
        crema_d.read(corpus)


def test_a_damaged_vote_is_located(corpus: Path) -> None:
    path = corpus / "processedResults" / "summaryTable.csv"
    path.write_text(SUMMARY.replace('"37.2:58.6"', '"37.2"'))
    with pytest.raises(InputError, match=r"summaryTable\.csv, clip '1001_IEO_ANG_MD': a vote cannot be"):
        crema_d.read(corpus)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CREMA-D tables are not beside this checkout")
def test_real_tables_have_the_published_counts() -> None:
    reading = crema_d.read(REAL)
    assert Counter(u.emotion for u in reading.utterances) == {
        "anger": 1271,
        "disgust": 1271,
        "fear": 1271,
        "happiness": 1271,
        "sadness": 1271,
        "neutral": 1087,
    }
    assert Counter(u.meta["level"] for u in reading.utterances) == {
        "unspecified": 6077,
        "low": 455,
        "medium": 455,
        "high": 455,
    }
    speakers = {u.speaker: u.gender for u in reading.utterances}
    assert Counter(speakers.values()) == {"male": 48, "female": 43}
    assert Counter(u.split for u in reading.utterances) + Counter(total=7442) == reading.expected
    present = [u.id for u in reading.utterances if (REAL / u.audio).is_file()]
    assert len(present) == 7
    assert not reading.dropped
    assert "in 45.6% of the 6798 clips" in reading.notes[1]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CREMA-D tables are not beside this checkout")
def test_real_voice_votes_have_the_published_ties() -> None:
    reading = crema_d.read(REAL, label="voice-vote")
    assert sum(remark.reason == "tied voice vote" for remark in reading.flagged) == 644
    assert sum(u.emotion == "no_agreement" for u in reading.utterances) == 644
    assert not any("disagree" in remark.reason for remark in reading.flagged)
    assert not [u.id for u in reading.utterances if problems_of(u)]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CREMA-D tables are not beside this checkout")
def test_genders_in_the_source_are_those_of_the_real_table() -> None:
    lines = (REAL / "VideoDemographics.csv").read_text().splitlines()[1:]
    assert {int(line[:4]) for line in lines if '"Female"' in line} == crema_d.WOMEN


def test_the_published_list_of_actors_is_the_split_that_the_reader_makes() -> None:
    path = Path(__file__).parents[1] / "data_manifests" / "crema_d_actors.csv"
    with path.open(newline="", encoding="utf-8") as file:
        published = {row["speaker"]: (row["split"], int(row["fold"])) for row in csv.DictReader(file)}
    assert published == crema_d.actor_splits(0)
