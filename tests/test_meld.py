"""MELD: a miniature archive in the real folder structure, with every trap, and the three real csv files."""

import csv
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import pytest

from multimodal_ser.corpora import meld
from multimodal_ser.corpora.reading import Reading, Remark
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

REAL = Path(__file__).parents[2] / "shared" / "data" / "meld"
HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\r\n"
)
TABLES = {
    # "Sr No." 2 stands twice; utterance 1 of dialogue 0 is not there; one hour has one digit.
    "train/train_sent_emo.csv": HEADER
    + '1,"also, I was the “point—”",Chandler,neutral,neutral,0,0,8,21,"00:16:16,059","00:16:21,731"\r\n'
    '2,You must’ve had your hands full.,The Interviewer,joy,positive,0,2,8,21,"0:16:21,940","0:16:23,442"\r\n'
    '2,None,All,surprise,negative,0,3,8,21,"00:16:23,442","00:16:25,82"\r\n'
    '4,Kathy! Kathy!,Phoebe Sr,fear,negative,309,0,4,6,"00:01:00,000","00:01:41,040"\r\n'
    '5,Bye.,Ross,sadness,negative,125,3,4,6,"00:01:00,000","00:01:02,000"\r\n'
    '6,Hello.,Ross,anger,negative,793,0,4,6,"1:01:00,000","1:01:02,000"\r\n',
    "dev_sent_emo.csv": HEADER
    + '1,"Oh my God, he’s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\r\n'
    '2,Ow!,Monica,disgust,negative,0,1,4,7,"00:21:01,000","00:21:01,084"\r\n'
    '3,What?,Monica,surprise,negative,110,7,4,7,"00:21:01,927","00:21:03,261"\r\n',
    "test_sent_emo.csv": HEADER
    # U+0092 is what a Windows-1252 quote becomes when its byte is taken for Latin-1.
    + '1,Why all you\u0092re coffee mugs?,Mark,surprise,positive,0,0,3,19,"00:14:38,127","00:14:40,378"\r\n'
    '2,Oh my God.,Joey and Ross,glee,positive,155,3,3,19,"00:15:00,000","00:15:00,000"\r\n'
    '3,Lost.,Joey,neutral,neutral,2,5,3,19,"00:15:00,000","15 minutes"\r\n'
    '4,Broken row.,Joey,neutral,neutral,,5,3,19,"00:15:00,000","00:15:01,000"\r\n',
}
CLIPS = [
    "train/train_splits/dia0_utt0.mp4",
    "train/train_splits_wav/dia0_utt0.wav",
    "train/train_splits/dia0_utt2.mp4",
    "train/train_splits/dia0_utt3.mp4",
    "train/train_splits/dia125_utt3.mp4",
    "train/train_splits/dia309_utt0.mp4",
    "train/train_splits/dia793_utt0.mp4",
    "train/train_splits/._dia0_utt0.mp4",
    "train_and_dev/dev_splits_complete/dia0_utt0.mp4",
    "train_and_dev/dev_splits_complete/dia0_utt1.mp4",
    "train_and_dev/dev_splits_complete/dia66_utt9.mp4",
    "output_repeated_splits_test/dia0_utt0.mp4",
    "output_repeated_splits_test/dia155_utt3.mp4",
    "output_repeated_splits_test/final_videos_testdia0_utt0.mp4",
    "output_repeated_splits_test/dia0_utt0 (1).mp4",
    "clips/dia2_utt5.mp4",
]
COMMON = {"corpus": "meld", "text_source": "reference", "label_source": "rated"}
EXPECTED = [
    Utterance(
        **COMMON,
        id="train_dia0_utt0",
        audio="train/train_splits_wav/dia0_utt0.wav",
        speaker="Chandler",
        gender="male",
        split="train",
        text="also, I was the “point—”",
        emotion="neutral",
        meta={
            "dialogue": 0,
            "utterance": 0,
            "season": 8,
            "episode": 21,
            "episode_start": 976.059,
            "episode_end": 981.731,
            "sentiment": "neutral",
        },
    ),
    Utterance(
        **COMMON,
        id="train_dia0_utt2",
        audio="train/train_splits/dia0_utt2.mp4",
        speaker="The Interviewer, season 8 episode 21",
        split="train",
        text="You must’ve had your hands full.",
        emotion="happiness",
        meta={
            "dialogue": 0,
            "utterance": 2,
            "season": 8,
            "episode": 21,
            "episode_start": 981.94,
            "episode_end": 983.442,
            "sentiment": "positive",
            "speaker_name": "The Interviewer",
        },
    ),
    Utterance(
        **COMMON,
        id="train_dia0_utt3",
        audio="train/train_splits/dia0_utt3.mp4",
        split="train",
        text="None",
        emotion="surprise",
        meta={
            "dialogue": 0,
            "utterance": 3,
            "season": 8,
            "episode": 21,
            "episode_start": 983.442,
            "episode_end": 985.82,
            "sentiment": "negative",
            "speaker_name": "All",
        },
    ),
    Utterance(
        **COMMON,
        id="train_dia309_utt0",
        audio="train/train_splits/dia309_utt0.mp4",
        speaker="Phoebe Sr.",
        split="train",
        text="Kathy! Kathy!",
        emotion="fear",
        meta={
            "dialogue": 309,
            "utterance": 0,
            "season": 4,
            "episode": 6,
            "episode_start": 60.0,
            "episode_end": 101.04,
            "sentiment": "negative",
            "speaker_name": "Phoebe Sr",
        },
    ),
    Utterance(
        **COMMON,
        id="train_dia793_utt0",
        audio="train/train_splits/dia793_utt0.mp4",
        speaker="Ross",
        gender="male",
        split="train",
        text="Hello.",
        emotion="anger",
        meta={
            "dialogue": 793,
            "utterance": 0,
            "season": 4,
            "episode": 6,
            "episode_start": 3660.0,
            "episode_end": 3662.0,
            "sentiment": "negative",
        },
    ),
    Utterance(
        **COMMON,
        id="dev_dia0_utt0",
        audio="train_and_dev/dev_splits_complete/dia0_utt0.mp4",
        speaker="Phoebe",
        gender="female",
        split="development",
        text="Oh my God, he’s lost it.",
        emotion="sadness",
        meta={
            "dialogue": 0,
            "utterance": 0,
            "season": 4,
            "episode": 7,
            "episode_start": 1257.256,
            "episode_end": 1260.049,
            "sentiment": "negative",
        },
    ),
    Utterance(
        **COMMON,
        id="dev_dia0_utt1",
        audio="train_and_dev/dev_splits_complete/dia0_utt1.mp4",
        speaker="Monica",
        gender="female",
        split="development",
        text="Ow!",
        emotion="disgust",
        meta={
            "dialogue": 0,
            "utterance": 1,
            "season": 4,
            "episode": 7,
            "episode_start": 1261.0,
            "episode_end": 1261.084,
            "sentiment": "negative",
        },
    ),
    Utterance(
        **COMMON,
        id="test_dia0_utt0",
        audio="output_repeated_splits_test/dia0_utt0.mp4",
        speaker="Mark",
        split="test",
        text="Why all you’re coffee mugs?",
        emotion="surprise",
        meta={
            "dialogue": 0,
            "utterance": 0,
            "season": 3,
            "episode": 19,
            "episode_start": 878.127,
            "episode_end": 880.378,
            "sentiment": "positive",
        },
    ),
    Utterance(
        **COMMON,
        id="test_dia155_utt3",
        audio="output_repeated_splits_test/dia155_utt3.mp4",
        split="test",
        text="Oh my God.",
        meta={
            "dialogue": 155,
            "utterance": 3,
            "season": 3,
            "episode": 19,
            "episode_start": 900.0,
            "episode_end": 900.0,
            "sentiment": "positive",
            "speaker_name": "Joey and Ross",
        },
    ),
]


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """MELD.Raw, unpacked by three hands, in a folder whose own name says "test"."""
    root = tmp_path / "test" / "MELD.Raw"
    for name, content in TABLES.items():
        put(root / name, content.encode())
    for name in CLIPS:
        put(root / name, b"\x00\x00\x00\x20ftyp")
    return root


def test_every_field_of_the_miniature_is_as_written_in_the_table(archive: Path) -> None:
    reading = meld.read(archive)
    for found, expected in zip(reading.utterances, EXPECTED, strict=True):
        assert found == expected
    assert not [problem for utterance in reading.utterances for problem in problems_of(utterance)]
    assert all((archive / utterance.audio).is_file() for utterance in reading.utterances)
    assert Path(reading.header.audio_root) == archive


def test_what_cannot_be_used_is_dropped_and_only_damage_of_this_copy_is_a_failure(archive: Path) -> None:
    assert meld.read(archive).dropped == [
        Remark("train_dia125_utt3", "clip broken in the official archive", split="train", failed=False),
        Remark("dev_dia110_utt7", "clip missing in the official archive", split="development", failed=False),
        Remark("test_dia2_utt5", "clip missing", split="test", failed=True),
        Remark(
            "test_sent_emo.csv, row 5",
            "no dialogue or utterance number",
            "Broken row.",
            split="test",
            failed=True,
        ),
    ]


def test_clips_that_cannot_be_right_are_flagged_with_the_reason(archive: Path) -> None:
    assert [(flag.id, flag.reason, flag.detail) for flag in meld.read(archive).flagged] == [
        ("train_dia309_utt0", "clip over 30 s by its times", "41.04 s"),
        ("train_dia793_utt0", "sound reported as disturbed", "declare-lab/MELD issue 9"),
        ("dev_dia0_utt1", "clip under 0.1 s by its times", "0.084 s"),
        ("test_dia155_utt3", "unknown emotion", "glee"),
        ("test_dia155_utt3", "clip of no length by its times", "0 s"),
    ]


def test_files_that_belong_to_no_row_are_left_aside_and_counted(archive: Path) -> None:
    notes = meld.read(archive).notes
    assert "1 clips left aside, named final_videos_test...: final_videos_testdia0_utt0.mp4" in notes
    assert "1 clips left aside, not named dia..._utt...: dia0_utt0 (1).mp4" in notes
    assert "1 clips left aside, without a row in the csv: dev_dia66_utt9" in notes
    assert "1 clips left aside, in a folder that does not say train, dev or test: dia2_utt5.mp4" in notes
    assert "clips taken: 8 .mp4, 1 .wav" in notes
    assert "test_sent_emo.csv: Windows-1252 characters repaired in 1 rows" in notes


def test_counts_expected_of_clips_are_two_less_than_those_of_the_text(archive: Path) -> None:
    assert meld.read(archive).expected == {"train": 9988, "development": 1108, "test": 2610, "total": 13706}
    assert meld.read(archive, text_only=True).expected == {
        "train": 9989,
        "development": 1109,
        "test": 2610,
        "total": 13708,
    }


def test_flagged_clips_are_dropped_on_request_and_stay_listed(archive: Path) -> None:
    reading = meld.read(archive, drop_flagged=True)
    assert [u.id for u in reading.utterances] == [
        "train_dia0_utt0",
        "train_dia0_utt2",
        "train_dia0_utt3",
        "dev_dia0_utt0",
        "test_dia0_utt0",
    ]
    assert [(r.id, r.reason, r.split, r.failed) for r in reading.dropped[-4:]] == [
        ("train_dia309_utt0", "clip over 30 s by its times", "train", False),
        ("train_dia793_utt0", "sound reported as disturbed", "train", False),
        ("dev_dia0_utt1", "clip under 0.1 s by its times", "development", False),
        ("test_dia155_utt3", "unknown emotion", "test", False),
    ]


def test_text_only_needs_no_clip_and_keeps_the_words_of_broken_clips(archive: Path, tmp_path: Path) -> None:
    reading = meld.read(archive, text_only=True)
    ids = [utterance.id for utterance in reading.utterances]
    assert {"train_dia125_utt3", "dev_dia110_utt7", "test_dia2_utt5"} < set(ids)
    assert len(ids) == len(set(ids)) == 12
    assert {utterance.audio for utterance in reading.utterances} == {None}
    assert reading.header.audio_root is None
    assert "text only: --text-only was given" in reading.notes
    assert ("test_dia2_utt5", "EndTime is not H:MM:SS,mmm", "15 minutes") in [
        (flag.id, flag.reason, flag.detail) for flag in reading.flagged
    ]
    for name, content in TABLES.items():
        put(tmp_path / "words" / name, content.encode())
    words = meld.read(tmp_path / "words")
    assert words.utterances == reading.utterances
    assert "text only: there are no clips below the folder" in words.notes


def test_a_table_in_windows_1252_reads_the_same_and_is_noted(archive: Path) -> None:
    name = "train/train_sent_emo.csv"
    (archive / name).write_bytes(TABLES[name].encode("cp1252"))
    reading = meld.read(archive)
    assert reading.utterances == EXPECTED
    assert "train_sent_emo.csv is not UTF-8, read as cp1252" in reading.notes


def test_a_split_whose_clips_are_not_unpacked_is_named(archive: Path) -> None:
    for path in (archive / "output_repeated_splits_test").iterdir():
        path.unlink()
    put(archive / "test.tar.gz", b"\x1f\x8b")
    reading = meld.read(archive)
    assert (
        "split 'test' has not one clip: is the archive unpacked whole?; unpack test.tar.gz" in reading.notes
    )
    assert [r.reason for r in reading.dropped if r.split == "test"].count("clip missing") == 3


def test_two_different_tables_of_one_split_are_noted(archive: Path) -> None:
    put(archive / "old/copies/dev_sent_emo.csv", HEADER.encode())
    assert "dev_sent_emo.csv is read; old/copies/dev_sent_emo.csv differs from it" in meld.read(archive).notes


def test_a_missing_table_is_noted_and_a_folder_without_any_refused(archive: Path, tmp_path: Path) -> None:
    (archive / "dev_sent_emo.csv").unlink()
    assert "there is no dev_sent_emo.csv: split 'development' is missing" in meld.read(archive).notes
    packed = tmp_path / "packed"
    put(packed / "MELD.Raw.tar.gz", b"\x1f\x8b")
    with pytest.raises(InputError, match=r"no train_sent_emo.csv.*unpack MELD.Raw.tar.gz first"):
        meld.read(packed)


def test_a_table_without_a_needed_column_is_refused(archive: Path) -> None:
    put(archive / "dev_sent_emo.csv", b"Utterance,Speaker\r\nHi,Ross\r\n")
    with pytest.raises(InputError, match=r"dev_sent_emo.csv: no column 'Emotion'; columns found: Utterance"):
        meld.read(archive)


def test_options_are_keywords_of_read(archive: Path) -> None:
    parser = ArgumentParser()
    meld.add_arguments(parser)
    options = vars(parser.parse_args(["--text-only", "--drop-flagged"]))
    assert options == {"text_only": True, "drop_flagged": True}
    assert len(meld.read(archive, **options).utterances) == 8


def test_clips_behind_a_link_are_found_and_a_circle_of_links_ends(archive: Path, tmp_path: Path) -> None:
    (archive / "train_and_dev").rename(tmp_path / "elsewhere")
    (archive / "train_and_dev").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (archive / "train_and_dev" / "again").symlink_to(archive, target_is_directory=True)
    assert meld.read(archive).utterances == EXPECTED


@pytest.fixture(scope="module")
def real() -> Reading:
    if not REAL.is_dir():
        pytest.skip("the three official csv files of MELD are not beside this tree")
    return meld.read(REAL)


def test_real_rows_are_the_published_ones_and_none_is_dropped(real: Reading) -> None:
    counts = Counter(u.split for u in real.utterances)
    assert counts == {"train": 9989, "development": 1109, "test": 2610}
    assert real.dropped == []
    assert len({u.id for u in real.utterances}) == 13708
    assert not [problem for utterance in real.utterances for problem in problems_of(utterance)]


def test_real_classes_are_the_published_ones(real: Reading) -> None:
    emotions = ("neutral", "happiness", "surprise", "anger", "sadness", "disgust", "fear")
    for split, expected in {
        "train": (4710, 1743, 1205, 1109, 683, 271, 268),
        "test": (1256, 402, 281, 345, 208, 68, 50),
    }.items():
        counts = Counter(u.emotion for u in real.utterances if u.split == split)
        assert tuple(counts[emotion] for emotion in emotions) == expected


def test_these_fourteen_real_clips_are_flagged(real: Reading) -> None:
    flagged: dict[str, set[str]] = {}
    for remark in real.flagged:
        flagged.setdefault(remark.reason, set()).add(remark.id)
    assert flagged == {
        "clip of no length by its times": {"test_dia155_utt3"},
        "clip over 30 s by its times": {"train_dia309_utt0", "test_dia38_utt4", "test_dia220_utt0"},
        "clip under 0.1 s by its times": {
            *(f"train_dia{name}" for name in ("71_utt0", "179_utt8", "312_utt9", "332_utt1", "338_utt3")),
            *(f"train_dia{name}" for name in ("406_utt2", "523_utt10", "598_utt3")),
            *(f"dev_dia{name}" for name in ("99_utt3", "108_utt5")),
        },
    }


def test_real_texts_are_the_cells_of_the_file_in_order(real: Reading) -> None:
    with (REAL / "test_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        cells = [row["Utterance"].strip() for row in csv.DictReader(file)]
    assert [u.text for u in real.utterances if u.split == "test"] == cells
    assert not [u.id for u in real.utterances if any(0x80 <= ord(c) <= 0x9F for c in u.text)]


def test_a_role_of_several_episodes_is_not_one_speaker(real: Reading) -> None:
    women = {u.speaker for u in real.utterances if (u.meta or {}).get("speaker_name") == "Woman"}
    assert len(women) == 10
    mains = Counter(u.speaker for u in real.utterances if u.speaker in meld.MAIN_SPEAKERS)
    assert mains == {
        "Joey": 2070,
        "Ross": 2048,
        "Rachel": 1955,
        "Phoebe": 1797,
        "Monica": 1782,
        "Chandler": 1763,
    }
