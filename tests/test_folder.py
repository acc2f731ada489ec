"""A tree of audio becomes a manifest without labels; paths and side files fill the right fields."""

import os
import sys
from pathlib import Path

import pytest

from multimodal_ser.corpora import folder
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

SPEAKER_FOLDER = "(?P<speaker>[^/]+)/[^/]+$"


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_librispeech_is_read_by_the_documented_command(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "LibriSpeech",
        "SPEAKERS.TXT",
        "dev-clean/84/121123/84-121123-0000.flac",
        "dev-clean/84/121123/84-121123-0001.flac",
        "train-clean-100/103/1240/103-1240-0010.flac",
        "train-clean-100/103/1240/103-1240-0009.flac",
    )
    (root / "dev-clean/84/121123/84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001\n"
    )
    (root / "train-clean-100/103/1240/103-1240.trans.txt").write_text("103-1240-0009  NONE\n")
    pattern = r"(?P<subset>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/[^/]+$"
    assert pattern in folder.__doc__
    reading = folder.read(root, pattern=pattern, transcripts="*.trans.txt")
    first, second, third, fourth = reading.utterances
    assert first == Utterance(
        id="dev-clean/84/121123/84-121123-0000",
        corpus="LibriSpeech",
        audio="dev-clean/84/121123/84-121123-0000.flac",
        speaker="84",
        text="GO DO YOU HEAR",
        text_source="reference",
        meta={"subset": "dev-clean", "chapter": "121123"},
    )
    assert [u.text for u in (second, third, fourth)] == [None, "NONE", None]
    assert third.audio.endswith("0009.flac"), "take 9 comes before take 10"
    assert all(problems_of(utterance) == [] for utterance in reading.utterances)


def test_side_files_give_words_and_speakers(tmp_path: Path) -> None:
    root = tree(tmp_path / "rec", "a/1.wav", "b/1.wav", "b/2.MP3", "b/notes.pdf")
    (root / "a/1.txt").write_text("beside the audio\n")
    (root / "b/1.txt").write_bytes("Müller".encode("cp1252"))
    side = tmp_path / "who.csv"
    side.write_text("file,speaker,gender,split\na/1.wav,0012,F,Train\nb/1,7,male,Test 1\n2,8,x,\n")
    reading = folder.read(root, side_file=side, text_suffix=".txt", corpus_name="mine", licence="ours")
    assert [(u.id, u.speaker, u.gender, u.split, u.text) for u in reading.utterances] == [
        ("a/1", "0012", "female", "train", "beside the audio"),
        ("b/1", "7", "male", "test_1", "Müller"),
        ("b/2", "8", None, None, None),
    ]
    assert [(r.id, r.reason) for r in reading.flagged] == [("b/1.txt", "text read as cp1252, not UTF-8")]
    assert "3 files are no audio: 2 .txt, 1 .pdf" in reading.notes
    assert (reading.header.corpus, reading.header.licence) == ("mine", "ours")


def test_hidden_files_are_left_alone_and_one_stem_with_two_suffixes_is_flagged(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.wav", "a.mp3", "._a.wav", ".trash/b.wav", "c.flac")
    reading = folder.read(root)
    assert [u.id for u in reading.utterances] == ["a.mp3", "a.wav", "c"]
    assert [r.reason for r in reading.flagged] == ["another file has the same stem"] * 2
    assert any("no speaker is known" in note for note in reading.notes)


def test_paths_that_do_not_fit_are_kept_and_flagged(tmp_path: Path) -> None:
    reading = folder.read(tree(tmp_path, "s1/a.wav", "stray.wav"), pattern=SPEAKER_FOLDER)
    assert [u.speaker for u in reading.utterances] == ["s1", None]
    assert [(r.id, r.reason) for r in reading.flagged] == [("stray", "path does not fit the pattern")]


def splits_of(root: Path, **options) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for utterance in folder.read(root, pattern=SPEAKER_FOLDER, **options).utterances:
        found.setdefault(utterance.split, set()).add(utterance.speaker)
    return found


def test_speakers_are_split_whole_seeded_and_near_the_shares(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"s{speaker}/{i}.wav" for speaker in range(20) for i in range(1 + speaker % 3)))
    splits = splits_of(root)
    assert splits.keys() == {"train", "development", "test"}
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 20
    assert splits == splits_of(root)
    assert splits != splits_of(root, split_seed=1)
    halves = splits_of(root, split_by_speaker="0.5,0.25,0.25")
    clips = {name: sum(1 + int(s[1:]) % 3 for s in speakers) for name, speakers in halves.items()}
    assert clips["train"] == pytest.approx(39 / 2, abs=3)
    assert splits_of(root, split_by_speaker="1,0,0").keys() == {"train"}


def test_few_speakers_stay_unsplit_and_a_split_in_the_path_is_kept(tmp_path: Path) -> None:
    assert splits_of(tree(tmp_path / "few", "a/1.wav", "b/1.wav")).keys() == {None}
    with pytest.raises(InputError, match="2 speakers are known: too few for 3 splits"):
        splits_of(tmp_path / "few", split_by_speaker="0.8,0.1,0.1")
    root = tree(tmp_path / "own", *(f"Train/s{i}/a.wav" for i in range(9)))
    reading = folder.read(root, pattern="(?P<split>[^/]+)/(?P<speaker>[^/]+)/")
    assert {u.split for u in reading.utterances} == {"train"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<speaker>[^/]+", r"--pattern: not a regular expression: .* at position 0"),
        ("*", "not a regular expression: nothing to repeat"),
        ("(?P<speaker>a)(?P<speaker>b)", "not a regular expression: redefinition of group"),
        ("([^/]+)/", r"has no named group; write the part .* \(\?P<speaker>"),
        ("(?P<speaker>x+)/", r"fits none of the 1 paths, for example 's1/a\.wav'"),
    ],
)
def test_a_pattern_that_cannot_work_is_answered_with_the_reason(
    tmp_path: Path, pattern: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        folder.read(tree(tmp_path, "s1/a.wav"), pattern=pattern)


def test_a_folder_that_cannot_be_meant_is_answered_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder .* is empty"):
        folder.read(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        folder.read(tmp_path / "nowhere")
    root = tree(tmp_path / "x", "a.zip", "b.txt", "c.txt")
    with pytest.raises(
        InputError, match=r"no audio file below .*; files found: 2 \.txt, 1 \.zip\. Suffixes read: \.wav"
    ):
        folder.read(root)
    with pytest.raises(InputError, match=r"not a folder: .* not an archive"):
        folder.read(root / "a.zip")


def test_side_files_that_say_nothing_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", "a.wav")
    with pytest.raises(InputError, match="--side-file: no such file"):
        folder.read(root, side_file=tmp_path / "no.csv")
    (tmp_path / "side.csv").write_text("file,colour\na.wav,red\n")
    with pytest.raises(
        InputError, match=r"needs a column of files .* and one of speaker, gender, split, text"
    ):
        folder.read(root, side_file=tmp_path / "side.csv")
    with pytest.raises(InputError, match=r"--transcripts '\*\.trs': no file with lines"):
        folder.read(root, transcripts="*.trs")
    for outside in ("/etc/*", "../*.txt"):
        with pytest.raises(InputError, match="write a pattern below the folder"):
            folder.read(root, transcripts=outside)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_names_that_are_not_text_are_dropped_and_listed(tmp_path: Path) -> None:
    tree(tmp_path, "fine.wav")
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav"), "wb"):
        pass
    reading = folder.read(tmp_path)
    assert [u.id for u in reading.utterances] == ["fine"]
    assert [(r.id, r.reason) for r in reading.dropped] == [
        (r"'caf\udce9.wav'", "file name is not UTF-8 text")
    ]
