"""IEMOCAP: a miniature release in the real folder structure, with every trap, against literal utterances."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from multimodal_ser.corpora import iemocap
from multimodal_ser.corpora.reading import Remark
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

HEAD = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \xff\xfe\x00"  # what a "._" file holds
EVALUATIONS = {
    "Session1/Ses01F_impro05.txt": HEAD
    + "[140.2250 - 145.6000]\tSes01F_impro05_F019\tang\t[1.5000, 4.0000, 4.5000]\n"
    "C-E1:\tAnger;\t()\n"
    "C-E3:\tAnger;\t()\n"
    "C-E4:\tAnger; Frustration;\t()\n"
    "C-F1:\tSadness;\t()\n"
    "A-E3:\tval 2; act 4; dom  4;\t()\n"
    "A-E4:\tval 1; act 4; dom  5;\t(threatening, belligerent)\n"
    "A-F1:\tval 1; act 5; dom  5;\t()\n"
    "\n"
    # The man of the pair in a dialog whose name has an F.
    "[6.2901 - 8.2357]\tSes01F_impro05_M000\texc\t[5.0000, 5.5000, 3.0000]\n"
    "C-E2:\tExcited;\t()\n"
    "C-E3:\tHappiness;\t(glad; relieved)\n"
    "A-E3:\tval 5; act 6; dom  3;\t()\n"
    "A-E4:\tval 5; act 5; dom  ;\t()\n"
    "\n",
    "Session2/Ses02M_script01_1.txt": HEAD
    + "[1.0000 - 2.5000]\tSes02M_script01_1_F001\txxx\t[2.0000, 2.0000, 3.0000]\n"
    "C-E1:\tNeutral state;\t()\n"
    "C-E2:\tWistful;\t()\n"
    "\n"
    "[3.0000 - 4.0000]\tSes02M_script01_1_M001\tsad\t[nan, 2.0000]\n"
    "\n"
    "[5.0000 - 6.0000]\tSes02M_script01_1_F002\tzzz\t[2.0000, 3.0000, 1.0000]\n"
    "A-E3:\tval 4; act 3; dom  1;\t()\n"
    "\n"
    "[7.0000 - 8.0000\tSes02M_script01_1_F003\tneu\t[3.0000, 3.0000, 3.0000]\n"
    "C-E1:\tNeutral;\t()\n"
    "\n"
    "[8.5000 - 9.0000]\tSes02M_script01_1_X9\tneu\t[3.0000, 3.0000, 3.0000]\n",
    "Session5/Ses05M_impro05a.txt": HEAD
    + "[0.5000 - 1.5000]\tSes05M_impro05a_M003\tneu\t[3.0000, 1.0000, 2.0000]\r\n",
    "Session5/Ses05M_script01_1b.txt": HEAD
    + "[2.0000 - 3.0000]\tSes05M_script01_1b_M000\thap\t[5.0000, 3.0000, 3.0000]\nC-E1:\tHappiness;\t()\n",
}
TRANSCRIPTIONS = {
    "Session1/Ses01F_impro05.txt": b"M: Yeah.\n"
    b"Ses01F_impro05_MXX0 [003.0000-003.5000]: Mmhmm.\n"
    b"Ses01F_impro05_M000 [006.2901-008.2357]: [LAUGHTER] I said: yes]: I did. [BREATHING]\n"
    b"  Ses01F_impro05_F019 [140.2250-145.6000]: It\x92s \x91fine\x92.\n"
    b"Ses01F_impro05_F020 [150.0000-151.0000]: Nobody rated this.\n",
    "Session2/Ses02M_script01_1.txt": b"Ses02M_script01_1_F001 [001.0000-002.5000]: [LAUGHTER]\n"
    b"Ses02M_script01_1_F002 [005.0000-006.0000]:\n"
    b"Ses02M_script01_1_F002 [005.0000-006.0000]: Again.\n",
    "Session5/Ses05M_impro05a.txt": b"Ses05M_impro05a_M003 [000.5000-001.5000]: Right.\r\n",
}
EXPECTED = [
    Utterance(
        id="Ses01F_impro05_F019",
        corpus="iemocap",
        audio="Session1/sentences/wav/Ses01F_impro05/Ses01F_impro05_F019.wav",
        speaker="Ses01F",
        gender="female",
        fold=1,
        text="It’s ‘fine’.",
        text_source="reference",
        emotion="anger",
        emotion_probs={"anger": 0.75, "frustration": 0.25},
        arousal=0.75,
        valence=0.125,
        dominance=0.875,
        label_source="rated",
        ratings=[
            {"rater": "E1", "self": False, "emotion": "anger"},
            {
                "rater": "E3",
                "self": False,
                "emotion": "anger",
                "arousal": 0.75,
                "valence": 0.25,
                "dominance": 0.75,
            },
            {
                "rater": "E4",
                "self": False,
                "emotion": "anger",
                "emotions": ["anger", "frustration"],
                "arousal": 0.75,
                "valence": 0.0,
                "dominance": 1.0,
                "comment": "threatening, belligerent",
            },
            {
                "rater": "F1",
                "self": True,
                "emotion": "sadness",
                "arousal": 1.0,
                "valence": 0.0,
                "dominance": 1.0,
            },
        ],
        meta={
            "session": 1,
            "dialog": "Ses01F_impro05",
            "scenario": "impro05",
            "style": "improvised",
            "dialog_start": 140.225,
            "dialog_end": 145.6,
        },
    ),
    Utterance(
        id="Ses01F_impro05_M000",
        corpus="iemocap",
        audio="Session1/sentences/wav/Ses01F_impro05/Ses01F_impro05_M000.wav",
        speaker="Ses01M",
        gender="male",
        fold=1,
        text="I said: yes]: I did.",
        text_source="reference",
        emotion="excitement",
        emotion_probs={"happiness": 0.5, "excitement": 0.5},
        arousal=1.0,  # 5.5 on 1..5, clamped
        valence=1.0,
        dominance=0.5,
        label_source="rated",
        ratings=[
            {"rater": "E2", "self": False, "emotion": "excitement"},
            {
                "rater": "E3",
                "self": False,
                "emotion": "happiness",
                "arousal": 1.0,
                "valence": 1.0,
                "dominance": 0.5,
                "comment": "glad; relieved",
            },
            {"rater": "E4", "self": False, "arousal": 1.0, "valence": 1.0},
        ],
        meta={
            "session": 1,
            "dialog": "Ses01F_impro05",
            "scenario": "impro05",
            "style": "improvised",
            "dialog_start": 6.2901,
            "dialog_end": 8.2357,
            "sounds": ["LAUGHTER", "BREATHING"],
        },
    ),
    Utterance(
        id="Ses02M_script01_1_F001",
        corpus="iemocap",
        audio="Session2/sentences/wav/Ses02M_script01_1/Ses02M_script01_1_F001.wav",
        speaker="Ses02F",
        gender="female",
        fold=2,
        text="",  # no word is spoken
        text_source="reference",
        emotion="no_agreement",
        emotion_probs={"neutral": 0.5, "other": 0.5},
        arousal=0.25,
        valence=0.25,
        dominance=0.5,
        label_source="rated",
        ratings=[
            {"rater": "E1", "self": False, "emotion": "neutral"},
            {"rater": "E2", "self": False, "emotion": "other"},
        ],
        meta={
            "session": 2,
            "dialog": "Ses02M_script01_1",
            "scenario": "script01_1",
            "style": "scripted",
            "dialog_start": 1.0,
            "dialog_end": 2.5,
            "sounds": ["LAUGHTER"],
        },
    ),
    Utterance(
        id="Ses02M_script01_1_M001",
        corpus="iemocap",
        audio="Session2/sentences/wav/Ses02M_script01_1/Ses02M_script01_1_M001.wav",
        speaker="Ses02M",
        gender="male",
        fold=2,
        emotion="sadness",
        label_source="rated",
        meta={
            "session": 2,
            "dialog": "Ses02M_script01_1",
            "scenario": "script01_1",
            "style": "scripted",
            "dialog_start": 3.0,
            "dialog_end": 4.0,
        },
    ),
    Utterance(
        id="Ses02M_script01_1_F002",
        corpus="iemocap",
        audio="Session2/sentences/wav/Ses02M_script01_1/Ses02M_script01_1_F002.wav",
        speaker="Ses02F",
        gender="female",
        fold=2,
        text="",
        text_source="reference",
        arousal=0.5,
        valence=0.25,
        dominance=0.0,
        label_source="rated",
        ratings=[{"rater": "E3", "self": False, "arousal": 0.5, "valence": 0.75, "dominance": 0.0}],
        meta={
            "session": 2,
            "dialog": "Ses02M_script01_1",
            "scenario": "script01_1",
            "style": "scripted",
            "dialog_start": 5.0,
            "dialog_end": 6.0,
        },
    ),
    Utterance(
        id="Ses05M_impro05a_M003",
        corpus="iemocap",
        audio="Session5/sentences/wav/Ses05M_impro05a/Ses05M_impro05a_M003.wav",
        speaker="Ses05M",
        gender="male",
        fold=5,
        text="Right.",
        text_source="reference",
        emotion="neutral",
        arousal=0.0,
        valence=0.5,
        dominance=0.25,
        label_source="rated",
        meta={
            "session": 5,
            "dialog": "Ses05M_impro05a",
            "scenario": "impro05a",
            "style": "improvised",
            "dialog_start": 0.5,
            "dialog_end": 1.5,
        },
    ),
    Utterance(
        id="Ses05M_script01_1b_M000",
        corpus="iemocap",
        audio="Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_M000.wav",
        speaker="Ses05M",
        gender="male",
        fold=5,
        emotion="happiness",
        emotion_probs={"happiness": 1.0},
        arousal=0.5,
        valence=1.0,
        dominance=0.5,
        label_source="rated",
        ratings=[{"rater": "E1", "self": False, "emotion": "happiness"}],
        meta={
            "session": 5,
            "dialog": "Ses05M_script01_1b",
            "scenario": "script01_1b",
            "style": "scripted",
            "dialog_start": 2.0,
            "dialog_end": 3.0,
        },
    ),
]


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder called IEMOCAP_full_release."""
    root = tmp_path / "IEMOCAP_full_release"
    for name, content in EVALUATIONS.items():
        session, file = name.split("/")
        put(root / session / "dialog/EmoEvaluation" / file, content)
        put(root / session / "dialog/EmoEvaluation" / f"._{file}", APPLE_DOUBLE)
        # Self reports and single raters, in a grammar of their own, under the same dialog's name.
        put(root / session / "dialog/EmoEvaluation/Categorical" / file, "Ses01F_impro05_F019 :Anger; ()\n")
        put(root / session / "dialog/EmoEvaluation/Self-evaluation" / file, content)
        put(root / session / "dialog/wav" / file.replace(".txt", ".wav"), b"RIFF")
    for name, content in TRANSCRIPTIONS.items():
        session, file = name.split("/")
        put(root / session / "dialog/transcriptions" / file, content)
        put(root / session / "dialog/transcriptions" / f"._{file}", APPLE_DOUBLE)
    for utterance in EXPECTED:
        put(root / utterance.audio, b"RIFF")
        put((root / utterance.audio).with_name(f"._{utterance.id}.wav"), APPLE_DOUBLE)
    put(root / "Session1/dialog/EmoEvaluation/notes.txt", "not a dialog")
    put(root / "README.txt", "Thank you for your interest in the USC_IEMOCAP database.")
    return root


def test_every_field_of_the_miniature_is_as_written_in_the_table(release: Path) -> None:
    reading = iemocap.read(release)
    for found, expected in zip(reading.utterances, EXPECTED, strict=True):
        assert found == expected
    assert not [problem for utterance in reading.utterances for problem in problems_of(utterance)]
    assert all((release / utterance.audio).is_file() for utterance in reading.utterances)
    assert Path(reading.header.audio_root) == release
    assert str(reading.scale) == "1-5"


def test_what_cannot_be_used_or_is_distrusted_is_listed_with_the_reason(release: Path) -> None:
    reading = iemocap.read(release)
    assert reading.dropped == [
        Remark("Ses01F_impro05_F020", "transcribed but not labelled", "Ses01F_impro05.txt", failed=False),
        Remark(
            "Ses02M_script01_1.txt:12",
            "label line not understood",
            "[7.0000 - 8.0000\tSes02M_script01_1_F003\tneu\t[3.0000, 3.0000, 3.0000]",
            failed=True,
        ),
        Remark(
            "Ses02M_script01_1_X9",
            "id not of the form Ses01F_impro01_F000",
            "Ses02M_script01_1.txt:15",
            failed=True,
        ),
    ]
    assert {(flag.id, flag.reason, flag.detail) for flag in reading.flagged} == {
        ("Ses01F_impro05_M000", "label outside its scale, clamped", "arousal = 5.5, 1-5"),
        ("Ses01F_impro05_M000", "label outside its scale, clamped", "arousal of E3 = 6, 1-5"),
        ("Ses02M_script01_1_F001", "rater's word counted as other", "E2: wistful"),
        ("Ses02M_script01_1_M001", "dimensions missing", "[nan, 2.0000]"),
        ("Ses02M_script01_1_F002", "unknown emotion code", "zzz"),
        ("Ses02M_script01_1_F002", "mean differs from its raters", "valence = 2, raters 4"),
        ("Ses02M_script01_1_F002", "transcribed twice, the first is kept", "Again."),
    }
    notes = "\n".join(reading.notes)
    assert "the transcription Ses01F_impro05.txt is not UTF-8, read as cp1252" in notes
    assert "Session5 has no dialog/transcriptions/Ses05M_script01_1b.txt" in notes
    assert "lines without an id, which nobody labelled, passed over: 1" in notes
    assert "lines with an XX id, which nobody labelled, passed over: 1" in notes
    assert "text to meta.sounds (--keep-sounds leaves them): 2 utterances" in notes


def test_published_counts_are_those_of_the_five_sessions(release: Path) -> None:
    assert iemocap.read(release).expected == {
        "fold1": 1819,
        "fold2": 1811,
        "fold3": 2136,
        "fold4": 2103,
        "fold5": 2170,
        "total": 10039,
    }


def test_four_classes_merge_excited_into_happiness_and_list_the_rest(release: Path) -> None:
    reading = iemocap.read(release, four_class=True)
    assert {u.id: (u.emotion, u.emotion_probs) for u in reading.utterances} == {
        "Ses01F_impro05_F019": ("anger", {"anger": 0.75, "frustration": 0.25}),
        "Ses01F_impro05_M000": ("happiness", {"happiness": 1.0}),
        "Ses02M_script01_1_M001": ("sadness", None),
        "Ses05M_impro05a_M003": ("neutral", None),
        "Ses05M_script01_1b_M000": ("happiness", {"happiness": 1.0}),
    }
    assert [rating.get("emotion") for rating in reading.utterances[1].ratings] == ["happiness"] * 2 + [None]
    assert reading.expected == {
        "fold1": 1085,
        "fold2": 1023,
        "fold3": 1151,
        "fold4": 1031,
        "fold5": 1241,
        "total": 5531,
    }
    left_out = [remark for remark in reading.dropped if remark.reason == "left out by --four-class"]
    assert [(remark.id, remark.detail, remark.failed) for remark in left_out] == [
        ("Ses02M_script01_1_F001", "xxx", False),
        ("Ses02M_script01_1_F002", "zzz", False),
    ]
    assert any("5,531" in note and "4,490" in note for note in reading.notes)


def test_one_style_only_leaves_out_the_other_and_expects_no_count(release: Path) -> None:
    improvised = iemocap.read(release, improvised_only=True)
    scripted = iemocap.read(release, scripted_only=True)
    assert [u.id for u in improvised.utterances] == [
        "Ses01F_impro05_F019",
        "Ses01F_impro05_M000",
        "Ses05M_impro05a_M003",
    ]
    assert len(improvised.utterances) + len(scripted.utterances) == len(EXPECTED)
    assert {r.id for r in scripted.dropped if r.reason == "left out by --scripted-only"} == {
        u.id for u in improvised.utterances
    }
    assert improvised.expected == {}
    assert not any("same scripts" in note for note in improvised.notes)
    assert any("same scripts" in note for note in scripted.notes)


def test_sounds_stay_in_the_text_on_request(release: Path) -> None:
    utterance = iemocap.read(release, keep_sounds=True).utterances[1]
    assert utterance.text == "[LAUGHTER] I said: yes]: I did. [BREATHING]"
    assert "sounds" not in utterance.meta


def test_the_folder_above_and_a_doubled_folder_lead_to_the_same_utterances(
    release: Path, tmp_path: Path
) -> None:
    assert iemocap.read(tmp_path).utterances == EXPECTED
    outer = tmp_path / "again" / "IEMOCAP_full_release"
    outer.mkdir(parents=True)
    release.rename(outer / "IEMOCAP_full_release")
    assert iemocap.read(outer.parent).utterances == EXPECTED


@pytest.mark.parametrize("inside", ["Session2", "Session2/dialog", "Session2/dialog/EmoEvaluation"])
def test_a_session_given_by_mistake_is_named_with_the_right_folder(release: Path, inside: str) -> None:
    with pytest.raises(
        InputError, match=r"is Session2 of IEMOCAP or lies in it; give .*IEMOCAP_full_release$"
    ):
        iemocap.read(release / inside)


def test_another_folder_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    put(tmp_path / "IEMOCAP_full_release.tar.gz", b"")
    with pytest.raises(InputError, match=r"no Session1 to Session5 in it, but IEMOCAP_full_release.tar.gz"):
        iemocap.read(tmp_path)


def test_a_half_unpacked_release_is_noted_and_an_empty_one_refused(release: Path) -> None:
    (release / "Session3/sentences/wav").mkdir(parents=True)
    assert "Session3 has no dialog/EmoEvaluation/*.txt: is it unpacked whole?" in iemocap.read(release).notes
    for name in EVALUATIONS:
        session, file = name.split("/")
        (release / session / "dialog/EmoEvaluation" / file).unlink()
    with pytest.raises(
        InputError, match="no labelled utterance in dialog/EmoEvaluation of Session1, Session2"
    ):
        iemocap.read(release)


def test_options_are_keywords_of_read_and_styles_exclude_each_other(release: Path) -> None:
    parser = ArgumentParser()
    iemocap.add_arguments(parser)
    options = vars(parser.parse_args(["--four-class", "--improvised-only"]))
    assert [u.id for u in iemocap.read(release, **options).utterances] == [
        "Ses01F_impro05_F019",
        "Ses01F_impro05_M000",
        "Ses05M_impro05a_M003",
    ]
    with pytest.raises(SystemExit):
        parser.parse_args(["--scripted-only", "--improvised-only"])
    with pytest.raises(InputError, match="--improvised-only and --scripted-only leave nothing"):
        iemocap.read(release, improvised_only=True, scripted_only=True)
