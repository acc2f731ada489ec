"""MSP-IMPROV against a miniature corpus with every known trap, and a literal table of what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_msp_podcast import write_wav

from multimodal_ser.corpora import msp_improv
from multimodal_ser.corpora.reading import CLAMPED, split_by_fold
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance, problems_of

EVALUTION = """\
Evaluation of the videos; see the readme.

UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.000000; V:3.500000; D:2.000000 ; N:2.400000;
CrowdF1-7; Neutral; Neutral,Other-calm, dull; A:3.000000; V:4.000000; D:NaN; N:5.000000;
CrowdF1-8; Other; ; A:3.000000; V:3.000000; D:2.000000; N:1.000000;

UTD-IMPROV-S01A-M01-R-FM12.avi; A; A:5.000000; V:1.000000; D:4.500000;
CrowdF1-7; Angry; Angry,Frustrated; A:5.000000; V:1.000000; D:4.500000;

UTD-IMPROV-S20S-F06-S-FF02.avi; S; A:1.000000; V:2.000000; D:NaN; N:NaN;

UTD-IMPROV-S07H-M06-T-MM03.avi; H; D:4.000000; A:2.000000; V:5.000000; N:5.500000;

UTD-IMPROV-S07N-F02-P-MF04.avi; X; A:3.000000; V:3.000000; D:3.000000; N:3.000000;
UTD-IMPROV-S08H-M03-P-MF05.avi; O; A:3.000000; V:3.000000; D:3.000000; N:3.000000;
UTD-IMPROV-backstage.avi; N; A:3.000000; V:3.000000; D:3.000000;
"""
AUDIO = (
    "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
    "session1/S01A/R/MSP-IMPROV-S01A-M01-R-FM12.wav",
    "session6/S20S/S/MSP-IMPROV-S20S-F06-S-FF02.wav",
    "session6/S07H/T/MSP-IMPROV-S07H-M06-T-MM03.wav",
    "session2/S07N/P/MSP-IMPROV-S07N-F02-P-MF04.wav",
)
MISSING = "session3/S08H/P/MSP-IMPROV-S08H-M03-P-MF05.wav"


def expected(audio: str, emotion: str, numbers: tuple, meta: tuple, **more) -> Utterance:
    """One line of the literal table; `meta` is sentence, target, scenario, pair, turn, naturalness."""
    stem = Path(audio).stem
    session = int(audio[7])
    names = ("sentence", "target", "scenario", "pair", "turn", "naturalness")
    return Utterance(
        id=stem,
        corpus="msp-improv",
        audio=audio,
        fold=session,
        emotion=emotion,
        arousal=numbers[0],
        valence=numbers[1],
        dominance=numbers[2],
        label_source="rated",
        meta={"session": session, **dict(zip(names, meta, strict=True))},
        **more,
    )


TABLE = [
    expected(AUDIO[0], "neutral", (0.5, 0.625, 0.25), (1, "anger", "natural", "FM", 1, 0.35),
             speaker="F01", gender="female", emotion_probs={"neutral": 0.5, "other": 0.5},
             ratings=[
                 {"worker": "CrowdF1-7", "emotion": "neutral", "secondary": ["neutral", "Other-calm, dull"],
                  "arousal": 0.5, "valence": 0.75, "dominance": None, "naturalness": 1.0},
                 {"worker": "CrowdF1-8", "emotion": "other",
                  "arousal": 0.5, "valence": 0.5, "dominance": 0.25, "naturalness": 0.0},
             ]),
    expected(AUDIO[1], "anger", (1.0, 0.0, 0.875), (1, "anger", "target_read", "FM", 12, None),
             speaker="M01", gender="male", emotion_probs={"anger": 1.0},
             ratings=[{"worker": "CrowdF1-7", "emotion": "anger", "secondary": ["angry", "frustrated"],
                       "arousal": 1.0, "valence": 0.0, "dominance": 0.875}]),
    expected(AUDIO[2], "sadness", (0.0, 0.25, None), (20, "sadness", "other_improvised", "FF", 2, None),
             speaker="F06", gender="female"),
    expected(AUDIO[3], "happiness", (0.25, 1.0, 0.75), (7, "happiness", "target_improvised", "MM", 3, 1.0),
             speaker="M06", gender="male"),
    expected(AUDIO[4], "no_agreement", (0.5, 0.5, 0.5), (7, "neutral", "natural", "MF", 4, 0.5),
             speaker="F02", gender="female"),
    expected(MISSING, "other", (0.5, 0.5, 0.5), (8, "happiness", "natural", "MF", 5, 0.5),
             speaker="M03", gender="male"),
]  # fmt: skip


def write_tree(folder: Path, audio_folder: str = "", label_file: str = "Evalution.txt") -> Path:
    top = folder / "MSP-IMPROV"
    for path in AUDIO:
        (top / audio_folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_wav(top / audio_folder / path)
    (top / label_file).parent.mkdir(exist_ok=True)
    (top / label_file).write_text(EVALUTION, encoding="utf-8", newline="\r\n")
    return top


def test_the_miniature_corpus_reads_as_the_literal_table(tmp_path):
    top = write_tree(tmp_path)
    (top / "session1/S01A/P/._MSP-IMPROV-S01A-F01-P-FM01.wav").write_bytes(b"\0\5\26\7")
    write_wav(top / "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM02.wav")

    reading = msp_improv.read(top)

    assert reading.utterances == TABLE
    assert [(remark.id, remark.reason, remark.failed) for remark in reading.dropped] == [
        ("UTD-IMPROV-backstage", "file name of another form", True),
        ("MSP-IMPROV-S01A-F01-P-FM02", "audio without labels", False),
    ]
    assert [(remark.id, remark.reason, remark.detail) for remark in reading.flagged] == [
        ("MSP-IMPROV-S07H-M06-T-MM03", CLAMPED, "naturalness = 5.5, 1-5")
    ]
    assert reading.header == Header("msp-improv", audio_root=str(top), licence=msp_improv.LICENCE)
    assert reading.expected == {"total": 8438}
    assert reading.notes == []
    assert [problem for utterance in TABLE for problem in problems_of(utterance)] == []


def test_a_fold_tests_one_session_and_its_two_speakers(tmp_path):
    utterances = split_by_fold(msp_improv.read(write_tree(tmp_path)).utterances, 6)
    splits = {utterance.speaker: utterance.split for utterance in utterances}
    assert splits == {
        "F01": "development", "M01": "development", "F06": "test", "M06": "test",
        "F02": "train", "M03": "train",
    }  # fmt: skip


@pytest.mark.parametrize("label_file", ["Evaluation.txt", "evalution.txt", "Labels/Evalution.txt"])
def test_the_label_file_is_found_in_other_spellings_and_places(tmp_path, label_file):
    assert msp_improv.read(write_tree(tmp_path, label_file=label_file)).utterances == TABLE


def test_of_two_label_files_the_released_spelling_is_read_and_said(tmp_path):
    top = write_tree(tmp_path)
    (top / "Evaluation.txt").write_text("", encoding="utf-8")
    reading = msp_improv.read(top)
    assert reading.utterances == TABLE
    assert reading.notes == ["Evalution.txt was read, not Evaluation.txt"]


@pytest.mark.parametrize("audio_folder", ["Audio", "Audio/Audio"])
def test_audio_may_lie_in_a_folder_of_its_own(tmp_path, audio_folder):
    moved = [replace(u, audio=f"{audio_folder}/{u.audio}") for u in TABLE[:-1]]
    assert msp_improv.read(write_tree(tmp_path, audio_folder)).utterances[:-1] == moved


@pytest.mark.parametrize("given", ["MSP-IMPROV/session1", ""])
def test_given_the_wrong_level_the_right_one_is_read_and_said(tmp_path, given):
    top = write_tree(tmp_path)
    reading = msp_improv.read(tmp_path / given)
    assert reading.utterances == TABLE
    assert reading.notes == [f"the corpus' top folder is {top}, not the one given"]


def test_of_two_files_of_one_name_the_first_is_taken_and_said(tmp_path):
    top = write_tree(tmp_path)
    (top / "session9").mkdir()
    write_wav(top / "session9" / Path(AUDIO[0]).name)
    reading = msp_improv.read(top)
    assert reading.utterances == TABLE
    assert reading.flagged[0].reason == "two audio files of one name"


def test_no_agreement_is_kept_unless_the_user_drops_it(tmp_path):
    reading = msp_improv.read(write_tree(tmp_path), drop_no_agreement=True)
    assert reading.utterances == [u for u in TABLE if u.emotion != "no_agreement"]
    assert [(r.id, r.failed) for r in reading.dropped if "agreement" in r.reason] == [(TABLE[4].id, False)]


def test_another_folder_is_named_as_such(tmp_path):
    (tmp_path / "Labels").mkdir()
    with pytest.raises(InputError, match=r"no Evalution\.txt in .*; found Labels\. Is this MSP-IMPROV's top"):
        msp_improv.read(tmp_path)
