"""MSP-Podcast against a miniature corpus with every known trap, and a literal table of what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_msp_podcast import RELEASES, Clip, Vote, invent, textgrid, write_tree, write_wav

from multimodal_ser.corpora import msp_podcast, msp_podcast_files
from multimodal_ser.corpora.msp_labels import read_ratings
from multimodal_ser.corpora.msp_podcast_files import words_of_textgrid
from multimodal_ser.corpora.msp_votes import Units, add_line, emotion_of
from multimodal_ser.corpora.reading import CLAMPED, Reading
from multimodal_ser.errors import InputError
from multimodal_ser.labels import MSP_SCALE
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance, problems_of

VOTES = (
    Vote("WORKER00000001", "Neutral", "Neutral,Concerned", "2.000000", "4.000000", "1.000000"),
    Vote("WORKER00000002", "Neutral", "", "1.000000", "4.000000", "2.500000"),
    Vote("WORKER00000003", "Other-Bored, tired", "Other-Bored, tired,Dissapointed", "1.0", "3.0", "7.0"),
    Vote("WORKER00000004", "Neutral", None, "2.500000", "5.500000", "4.000000"),
)
MIXED_VOTES = (
    Vote("WORKER00000001", "Other-so-so (bored)", "Sad,Depressed", "4", "4", "4"),
    Vote("WORKER00000009", "Other", "Excited", "4", "4", "4"),
    Vote("WORKER00000010", "Dissapointed", "Annoyed", "4", "4", "4"),
    Vote("WORKER00000011", "Happy", "Happy", "4", "4", "4"),
)
# Every letter, both forms of names, unknown speakers and genders, three sets, texts in four encodings.
CLIPS = (
    Clip("MSP-PODCAST_0001_0008", "N", "2.2", "4.0", "2.5", "30", gender="Male", split="Test1",
         votes=VOTES, transcript="Well, I think so."),
    Clip("MSP-PODCAST_0001_0008_0001", "A", "3.777778", "1.6", "7.0", "31", gender="Female",
         transcript="  Two\nlines. \n"),
    Clip("MSP-PODCAST_0002_0001", "S", "1.0", "1.0", "1.0", "Unknown", gender="Unknown",
         transcript="\ufeffMarked."),
    Clip("MSP-PODCAST_0002_0002", "H", "4.0", "5.5", "4.0", "Unknown", speaker_in_list="31",
         gender="Unknown", transcript="", alignment=["not", "this"]),
    Clip("MSP-PODCAST_0003_0001", "U", "5.5", "4.0", "4.0", "32", gender="Unknown", split="Development",
         transcript="Caf\xe9 \x93now\x94".encode("latin-1")),
    Clip("MSP-PODCAST_0003_0002_0004", "F", "7.0", "2.5", "1.6", "33", gender="Female", split="Test2",
         transcript="Na\u00efve.".encode("utf-16")),
    Clip("MSP-PODCAST_1023_0235", "D", "4.0", "2.5", "4.0", "34", gender="Male", audio="stereo",
         transcript="None"),
    Clip("MSP-PODCAST_0004_0001", "C", "4.0", "2.5", "5.5", "34", gender="Male", audio=None,
         transcript="NA"),
    Clip("MSP-PODCAST_0004_0002", "O", "4", "4", "4", "34", gender="Male", votes=MIXED_VOTES,
         alignment=["", "she", "said", '"no"', "sp", "<unk>"]),
    Clip("MSP-PODCAST_0004_0003_0001", "X", "2.5", "5.5", "4.0", "34", gender="Male", alignment=[""]),
    Clip("MSP-PODCAST_0004_0004", "N", "7.5", "0.4", "", "34", gender="Male"),
    Clip("MSP-PODCAST_0004_0005", "", "", "", "", "34", gender="Male"),
    Clip("MSP-PODCAST_test3_0001", split="Test3"),
    Clip("MSP-PODCAST_test3_0002", split="Test3", in_partitions=False),
)  # fmt: skip

RATINGS = [
    {"worker": "WORKER00000001", "emotion": "neutral", "secondary": ["neutral", "concerned"],
     "arousal": 0.166666666666667, "valence": 0.5, "dominance": 0.0},
    {"worker": "WORKER00000002", "emotion": "neutral", "arousal": 0.0, "valence": 0.5, "dominance": 0.25},
    {"worker": "WORKER00000003", "emotion": "other", "other": "Bored, tired",
     "secondary": ["Other-Bored, tired", "disappointed"],
     "arousal": 0.0, "valence": 0.333333333333333, "dominance": 1.0},
    {"worker": "WORKER00000004", "emotion": "neutral", "arousal": 0.25, "valence": 0.75, "dominance": 0.5},
]  # fmt: skip
MIDDLE = {"arousal": 0.5, "valence": 0.5, "dominance": 0.5}
MIXED_RATINGS = [
    {"worker": "WORKER00000001", "emotion": "other", "other": "so-so (bored)",
     "secondary": ["sad", "depressed"], **MIDDLE},
    {"worker": "WORKER00000009", "emotion": "other", "secondary": ["excited"], **MIDDLE},
    {"worker": "WORKER00000010", "emotion": "other", "other": "Dissapointed", "secondary": ["annoyed"],
     **MIDDLE},
    {"worker": "WORKER00000011", "emotion": "happiness", "secondary": ["happy"], **MIDDLE},
]  # fmt: skip


def expected(name, split, speaker, gender, text, emotion, numbers, podcast, **more) -> Utterance:
    """One line of the literal table; `numbers` are arousal, valence, dominance."""
    arousal, valence, dominance = numbers
    return Utterance(
        id=f"MSP-PODCAST_{name}",
        corpus="msp-podcast",
        audio=f"Audios/MSP-PODCAST_{name}.wav",
        speaker=speaker,
        gender=gender,
        split=split,
        text=text,
        text_source=None if text is None else "reference",
        emotion=emotion,
        arousal=arousal,
        valence=valence,
        dominance=dominance,
        label_source=None if emotion is None else "rated",
        meta={"podcast": podcast},
        **more,
    )


NONE = (None, None, None)
TABLE = [
    expected("0001_0008", "test1", "30", "male", "Well, I think so.", "neutral", (0.2, 0.5, 0.25), "0001",
             emotion_probs={"neutral": 0.75, "other": 0.25}, ratings=RATINGS),
    expected("0001_0008_0001", "train", "31", "female", "Two lines.", "anger", (0.462963, 0.1, 1.0), "0001"),
    expected("0002_0001", "train", None, None, "Marked.", "sadness", (0.0, 0.0, 0.0), "0002"),
    expected("0002_0002", "train", "31", "female", "", "happiness", (0.5, 0.75, 0.5), "0002"),
    expected("0003_0001", "development", "32", None, "Café “now”", "surprise", (0.75, 0.5, 0.5), "0003"),
    expected("0003_0002_0004", "test2", "33", "female", "Naïve.", "fear", (1.0, 0.25, 0.1), "0003"),
    expected("1023_0235", "train", "34", "male", "None", "disgust", (0.5, 0.25, 0.5), "1023"),
    expected("0004_0001", "train", "34", "male", "NA", "contempt", (0.5, 0.25, 0.75), "0004"),
    expected("0004_0002", "train", "34", "male", None, "other", (0.5, 0.5, 0.5), "0004",
             emotion_probs={"happiness": 0.25, "other": 0.75}, ratings=MIXED_RATINGS),
    expected("0004_0003_0001", "train", "34", "male", None, "no_agreement", (0.25, 0.75, 0.5), "0004"),
    expected("0004_0004", "train", "34", "male", None, "neutral", (1.0, 0.0, None), "0004"),
    expected("0004_0005", "train", "34", "male", None, None, NONE, "0004"),
    expected("test3_0001", "test3", None, None, None, None, NONE, None),
    expected("test3_0002", "test3", None, None, None, None, NONE, None),
]  # fmt: skip


def untranscribed(utterances: list[Utterance]) -> list[Utterance]:
    return [replace(utterance, text=None, text_source=None) for utterance in utterances]


def csv_of(top: Path) -> Path:
    return next(next(top.glob("[Ll]abel*")).glob("labels_con*.csv"))


def test_the_miniature_corpus_reads_as_the_literal_table(tmp_path):
    top = write_tree(tmp_path, CLIPS, "2.0")
    write_wav(top / "Audios" / "MSP-PODCAST_0009_0001.wav")
    (top / "Audios" / "._MSP-PODCAST_0001_0008.wav").write_bytes(b"\0\5\26\7")
    (top / "Transcripts" / "._MSP-PODCAST_0004_0002.txt").write_bytes(b"\0\5\26\7")
    with (top / "Partitions.txt").open("a", encoding="utf-8") as file:
        file.write("Train; MSP-PODCAST_0009_0002.wav\n")
    older = top / "Previous_releases_information" / "previous_releases_info" / "v1.11" / "Labels"
    older.mkdir(parents=True)
    (older / "labels_consensus.csv").write_text("FileName,EmoClass\nold.wav,N\n", encoding="utf-8")

    reading = msp_podcast.read(top)

    assert reading.utterances == TABLE
    assert [(remark.id, remark.reason, remark.failed) for remark in reading.dropped] == [
        ("MSP-PODCAST_0009_0002", "in Partitions.txt but not in the labels", True),
        ("MSP-PODCAST_0009_0001", "audio without labels", False),
    ]
    assert [(remark.id[12:], remark.reason, remark.detail) for remark in reading.flagged] == [
        ("0003_0001", "text file is not UTF-8", "MSP-PODCAST_0003_0001.txt: read as cp1252"),
        ("0003_0002_0004", "text file is not UTF-8", "MSP-PODCAST_0003_0002_0004.txt: read as utf-16"),
        ("0004_0004", CLAMPED, "arousal = 7.5, 1-7"),
        ("0004_0004", CLAMPED, "valence = 0.4, 1-7"),
    ]
    assert reading.header == Header(
        "msp-podcast", version="2.0", audio_root=str(top), licence=msp_podcast.LICENCE
    )


def test_what_is_read_makes_valid_manifest_lines(tmp_path):
    assert [p for u in msp_podcast.read(write_tree(tmp_path, CLIPS)).utterances for p in problems_of(u)] == []


@pytest.mark.parametrize("version", RELEASES)
def test_every_release_says_the_same_in_its_own_spelling(tmp_path, version):
    reading = msp_podcast.read(write_tree(tmp_path, CLIPS, version))
    has_transcripts = version in ("1.10", "1.11", "1.12", "2.0")
    assert reading.utterances == (TABLE if has_transcripts else untranscribed(TABLE))
    assert reading.header.version == version


@pytest.mark.parametrize("layout", ["columns", "detail"])
def test_both_layouts_of_the_detailed_labels_say_the_same(tmp_path, layout):
    assert msp_podcast.read(write_tree(tmp_path, CLIPS, layout=layout)).utterances == TABLE


@pytest.mark.parametrize("formats", [("json",), ("txt",), ("json", "txt")])
def test_without_csv_the_other_label_files_say_the_same(tmp_path, formats):
    """labels.txt names no split, speaker or gender: Partitions.txt and Speaker_ids.txt do."""
    reading = msp_podcast.read(write_tree(tmp_path, CLIPS, formats=formats))
    assert reading.utterances == TABLE
    assert any("labels.txt" in note for note in reading.notes) == (formats == ("txt",))


def test_csv_comes_before_json_and_json_before_text(tmp_path):
    top = write_tree(tmp_path, CLIPS, formats=("csv", "json", "txt"))
    (top / "Labels" / "labels.txt").write_text("nothing\n", encoding="utf-8")
    (top / "Labels" / "labels_detailed.json").write_text("{}", encoding="utf-8")
    (top / "Labels" / "labels_consensus.json").write_text("{}", encoding="utf-8")
    assert msp_podcast.read(top).utterances == TABLE


def test_json_records_may_be_wrapped_in_a_list_and_hold_numbers(tmp_path):
    top = write_tree(tmp_path, CLIPS[:1], formats=("json",))
    path = top / "Labels" / "labels_consensus.json"
    records = {file: [{**record, "EmoAct": 2.2}] for file, record in json.loads(path.read_bytes()).items()}
    path.write_text(json.dumps(records), encoding="utf-8")
    assert msp_podcast.read(top).utterances == TABLE[:1]


def test_a_byte_order_mark_before_the_header_does_no_harm(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    path = csv_of(top)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert msp_podcast.read(top).utterances == TABLE


def test_of_both_spellings_the_newer_is_read_and_said(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    (top / "Labels" / "labels_concensus.csv").write_text("FileName\n", encoding="utf-8")
    reading = msp_podcast.read(top)
    assert reading.utterances == TABLE
    assert "both labels_consensus.csv and labels_concensus.csv are there; labels_consensus.csv was read" in (
        reading.notes
    )


@pytest.mark.parametrize("folder", ["Labels", "Audios", "Transcripts"])
def test_doubled_folders_are_seen_through(tmp_path, folder):
    top = write_tree(tmp_path, CLIPS)
    (top / folder).rename(top / "inner")
    (top / folder).mkdir()
    (top / "inner").rename(top / folder / folder)
    (top / folder / ".DS_Store").write_bytes(b"")
    inner = "Audios/Audios" if folder == "Audios" else "Audios"
    moved = [replace(u, audio=u.audio.replace("Audios", inner)) for u in TABLE if u.id != TABLE[7].id]
    assert [u for u in msp_podcast.read(top).utterances if u.id != TABLE[7].id] == moved


def test_the_folder_may_be_called_audio(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    (top / "Audios").rename(top / "Audio")
    assert msp_podcast.read(top).utterances[0].audio == "Audio/MSP-PODCAST_0001_0008.wav"


@pytest.mark.parametrize(
    ("letter", "emotion"),
    [("A", "anger"), ("S", "sadness"), ("H", "happiness"), ("U", "surprise"), ("F", "fear"),
     ("D", "disgust"), ("C", "contempt"), ("N", "neutral"), ("O", "other"), ("X", "no_agreement")],
)  # fmt: skip
def test_every_letter_has_its_class(letter, emotion):
    assert emotion_of(Reading(Header("c")), "id", letter) == emotion


def test_an_unknown_letter_is_flagged_and_not_guessed():
    reading = Reading(Header("c"))
    assert emotion_of(reading, "id", "Q") is None
    assert reading.flagged[0].reason == "unknown emotion letter"


@pytest.mark.parametrize(
    ("line", "emotion", "other", "secondary"),
    [
        ("W; Neutral; Neutral,Concerned; A:4; V:4; D:4;", "neutral", None, ["neutral", "concerned"]),
        ("W; Neutral; ; A:4; V:4; D:4;", "neutral", None, None),
        ("W; Neutral; A:4; V:4; D:4;", "neutral", None, None),
        ("W; Neutral; A:4; V:4; D:4", "neutral", None, None),
        ("W; Happy; Dissapointed; D:4; V:4; A:4;", "happiness", None, ["disappointed"]),
        ("W; Other-Bored, tired; ; A:4; V:4; D:4;", "other", "Bored, tired", None),
        ("W; Other-a; b [c: d]; A:4; V:4; D:4;", "other", "a;b [c: d]", None),
        ("W; Other-a; b; Sad,Other-x, y; A:4; V:4; D:4;", "other", "a;b", ["sad", "Other-x, y"]),
        ("W; Angry; Other-x; y; A:4; V:4; D:4;", "anger", None, ["Other-x;y"]),
        ("W; Other; Other; A:4; V:4; D:4;", "other", None, ["Other"]),
        ("W; Other-Frustrated; ; A:4; V:4; D:4;", "other", "Frustrated", None),
        ("W; ; Sad; A:4; V:4; D:4;", None, None, ["sad"]),
    ],
)
def test_free_text_of_raters_is_cut_at_the_right_places(line, emotion, other, secondary):
    ratings = {}
    add_line(ratings, "clip", line, Units(Reading(Header("c")), MSP_SCALE))
    wanted = {"worker": "W", "emotion": emotion, "other": other, "secondary": secondary, **MIDDLE}
    assert ratings == {"clip": [{k: v for k, v in wanted.items() if v is not None or k == "emotion"}]}


def test_a_rating_that_makes_no_sense_is_flagged(tmp_path):
    (tmp_path / "labels_detailed.csv").write_text(
        "FileName,EmoDetail\na.wav,no numbers here\na.wav,W; Sad; A:x; V:9; D:4;\nb.wav\n", encoding="utf-8"
    )
    reading = Reading(Header("c"))
    ratings = read_ratings(tmp_path, reading, MSP_SCALE)
    only = {"worker": "W", "emotion": "sadness", "arousal": None, "valence": 1.0, "dominance": 0.5}
    assert ratings == {"a": [only]}
    assert [(remark.id, remark.reason) for remark in reading.flagged] == [
        ("a", "rating not understood"),
        ("a", "label is not a number"),
        ("a", CLAMPED),
        ("line 4", "rating not understood"),
    ]


def test_an_unquoted_comma_in_free_text_does_no_harm(tmp_path):
    text = "FileName,EmoDetail\na.wav,W; Other-Bored, tired; A:4; V:4; D:4;\n"
    (tmp_path / "labels_detailed.csv").write_text(text, encoding="utf-8")
    ratings = read_ratings(tmp_path, Reading(Header("c")), MSP_SCALE)
    assert ratings["a"][0]["other"] == "Bored, tired"


def test_bytes_of_windows_1252_in_label_files_are_read_and_counted(tmp_path):
    (tmp_path / "labels_detailed.csv").write_bytes(
        b"FileName,EmoDetail\r\na.wav,W; Other-blas\xe9; A:4; V:4; D:4;\r\n"
    )
    reading = Reading(Header("c"))
    assert read_ratings(tmp_path, reading, MSP_SCALE)["a"][0]["other"] == "blasé"
    assert reading.notes == ["labels_detailed.csv: 1 lines are not UTF-8 and were read as Windows-1252"]


def test_no_agreement_is_kept_unless_the_user_drops_it(tmp_path):
    reading = msp_podcast.read(write_tree(tmp_path, CLIPS), drop_no_agreement=True)
    assert reading.utterances == [u for u in TABLE if u.emotion != "no_agreement"]
    remark = reading.dropped[0]
    assert (remark.id, remark.split, remark.failed) == ("MSP-PODCAST_0004_0003_0001", "train", False)


def test_words_of_the_alignment_stand_in_for_missing_transcripts_only(tmp_path):
    reading = msp_podcast.read(write_tree(tmp_path, CLIPS), text_from_alignment=True)
    found = {u.id[12:]: (u.text, u.text_source) for u in reading.utterances}
    assert found["0004_0002"] == ('she said "no" <unk>', "alignment")
    assert found["0004_0003_0001"] == ("", "alignment")
    assert found["0002_0002"] == ("", "reference")
    assert found["0004_0004"] == (None, None)


def test_a_file_that_is_no_textgrid_is_flagged(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    (top / "ForceAligned" / "MSP-PODCAST_0004_0004.TextGrid").write_text("0.1 0.2 yes", encoding="utf-8")
    reading = msp_podcast.read(top, text_from_alignment=True)
    assert ("MSP-PODCAST_0004_0004", "alignment is not a TextGrid") in [
        (remark.id, remark.reason) for remark in reading.flagged
    ]


def test_the_short_form_of_a_textgrid_reads_like_the_long_one():
    short = (
        'File type = "ooTextFile"\n"TextGrid"\n\n0\n0.2\n<exists>\n2\n"IntervalTier"\n"words"\n0\n0.2\n2\n'
        '0\n0.1\n"she"\n0.1\n0.2\n"said"\n"IntervalTier"\n"phones"\n0\n0.2\n1\n0\n0.2\n"SH"\n'
    )
    assert words_of_textgrid(short) == words_of_textgrid(textgrid(["she", "said"])) == "she said"


def test_a_contradiction_about_the_split_is_flagged_and_the_labels_win(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    path = top / "Partitions.txt"
    path.write_text(path.read_text().replace("Test1; ", "Test2; "), encoding="utf-8")
    reading = msp_podcast.read(top)
    assert reading.utterances == TABLE
    assert ("another split in Partitions.txt", "test1, but test2 there") in [
        (remark.reason, remark.detail) for remark in reading.flagged
    ]


def test_a_challenge_package_needs_no_test_split(tmp_path):
    clips = [clip for clip in CLIPS if clip.split in ("Train", "Development")]
    top = write_tree(tmp_path, clips, "1.11").rename(tmp_path / "Odyssey_SER_challenge")
    (top / "Partitions.txt").unlink()
    (top / "Speaker_ids.txt").unlink()
    reading = msp_podcast.read(top)
    assert {utterance.split for utterance in reading.utterances} == {"train", "development"}
    assert reading.header.version == "odyssey-2024"
    assert reading.expected == {"train": 68360, "development": 19815}


def test_published_splits_add_up_to_published_totals():
    for release in msp_podcast_files.RELEASES.values():
        splits = {k: v for k, v in {**release.recalled, **release.confirmed}.items() if k != "total"}
        if {"train", "development", "test1"} <= splits.keys():
            assert sum(splits.values()) - splits.get("test3", 0) == release.labelled
        if "total" in release.confirmed:
            assert release.confirmed["total"] - splits.get("test3", 0) == release.labelled


def test_the_release_is_known_by_its_rows_before_its_name(tmp_path, monkeypatch):
    small = {"1.11": msp_podcast_files.Release(11, {"train": 8}, "here", {"test1": 2}),
             "1.8": msp_podcast_files.Release(99)}  # fmt: skip
    monkeypatch.setattr(msp_podcast_files, "RELEASES", small)
    monkeypatch.setattr(msp_podcast, "RELEASES", small)
    reading = msp_podcast.read(write_tree(tmp_path, CLIPS, "1.8"))
    assert reading.header.version == "1.11"
    assert (reading.expected, reading.expected_from) == ({"train": 8}, "here")
    assert reading.notes == [
        "the folder is named after 1.8, but 11 labelled rows are 1.11's",
        "split sizes of 1.11 are known from memory only; here they differ: test1 1 (recalled: 2)",
    ]


def test_the_user_may_say_the_release(tmp_path):
    top = write_tree(tmp_path, CLIPS).rename(tmp_path / "corpus")
    assert "say --version" in " ".join(msp_podcast.read(top).notes)
    assert msp_podcast.read(top, version="1.10").header.version == "1.10"


def test_the_clip_that_no_copy_of_2_0_has_is_no_failure(tmp_path):
    clips = [*CLIPS, Clip("MSP-PODCAST_1909_1017", audio=None)]
    reading = msp_podcast.read(write_tree(tmp_path, clips))
    assert reading.utterances == TABLE
    assert [(r.id, r.failed) for r in reading.dropped] == [("MSP-PODCAST_1909_1017", False)]


def test_labels_alone_can_be_read(tmp_path):
    clips = [*CLIPS[:-1], Clip("MSP-PODCAST_1909_1017", audio=None)]
    reading = msp_podcast.read(write_tree(tmp_path, clips, audio=False))
    assert [utterance.id for utterance in reading.utterances] == [
        *(utterance.id for utterance in TABLE[:-2]),
        "MSP-PODCAST_1909_1017",
        "MSP-PODCAST_test3_0001",
    ]
    assert reading.dropped == []


@pytest.mark.parametrize("inside", ["Labels", "Audios"])
def test_given_a_folder_inside_the_corpus_the_right_one_is_read_and_said(tmp_path, inside):
    top = write_tree(tmp_path, CLIPS)
    reading = msp_podcast.read(top / inside)
    assert reading.utterances == TABLE
    assert reading.notes[0] == f"the corpus' top folder is {top}, above the one given"


def test_given_the_folder_above_the_right_one_is_read_and_said(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    reading = msp_podcast.read(tmp_path)
    assert reading.utterances == TABLE
    assert reading.notes[0] == f"the corpus' top folder is {top}, one level below the one given"


def test_of_several_releases_one_must_be_chosen(tmp_path):
    write_tree(tmp_path, CLIPS, "1.10")
    write_tree(tmp_path, CLIPS, "1.11")
    with pytest.raises(InputError, match=r"several releases \(MSP-PODCAST-Publish-1\.10, MSP-PODCAST-Pub"):
        msp_podcast.read(tmp_path)


def test_another_folder_is_named_as_such(tmp_path):
    (tmp_path / "Session1").mkdir()
    with pytest.raises(InputError, match=r"no label folder in .*; found Session1\. Is this MSP-Podcast's"):
        msp_podcast.read(tmp_path)


def test_labels_of_previous_releases_are_never_taken_for_this_one(tmp_path):
    write_tree(tmp_path, CLIPS).rename(tmp_path / "Previous_releases_information")
    with pytest.raises(InputError, match="no label folder"):
        msp_podcast.read(tmp_path)


def test_a_half_unpacked_archive_is_named_as_such(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    csv_of(top).rename(top / "Labels" / "labels_consensus.csv.part")
    with pytest.raises(InputError, match=r"no label file in .*found labels_consensus\.csv\.part, labels_det"):
        msp_podcast.read(top)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    path = csv_of(top)
    path.write_text(path.read_text().replace("EmoVal", "Emo_Val"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"no column 'EmoVal' \(did you mean 'emo_val'\?\); columns there: f"
    ):
        msp_podcast.read(top)


def test_a_csv_cut_off_in_a_line_loses_that_line_only_and_says_so(tmp_path):
    top = write_tree(tmp_path, CLIPS[:2])
    path = csv_of(top)
    path.write_text(path.read_text()[:-12], encoding="utf-8")
    reading = msp_podcast.read(top)
    assert reading.utterances == TABLE[:1]
    assert [(r.id, r.reason) for r in reading.dropped if "line" in r.id] == [("line 3", "incomplete line")]


def test_an_open_quotation_mark_is_named_with_its_line(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    with csv_of(top).open("a", encoding="utf-8") as file:
        file.write('"' + "x" * 140_000)
    with pytest.raises(InputError, match=r"line \d+: field larger .* a quotation mark that is never closed"):
        msp_podcast.read(top)


def test_a_git_lfs_stub_is_named_as_such(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    csv_of(top).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", encoding="utf-8")
    with pytest.raises(InputError, match="Git-LFS stub, not the file; run `git lfs pull`"):
        msp_podcast.read(top)


def test_a_json_file_cut_off_is_named_as_such(tmp_path):
    top = write_tree(tmp_path, CLIPS, formats=("json",))
    path = top / "Labels" / "labels_consensus.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"not JSON .*is the file complete"):
        msp_podcast.read(top)


def test_a_file_name_cannot_lead_out_of_the_corpus(tmp_path):
    top = write_tree(tmp_path, CLIPS)
    with csv_of(top).open("a", encoding="utf-8") as file:
        file.write("../../secret.wav,N,4,4,4,1,Male,Train\r\n")
    reading = msp_podcast.read(top)
    assert reading.utterances == TABLE
    assert [remark.reason for remark in reading.dropped] == ["file name holds a folder"]


def test_an_invented_corpus_keeps_speakers_in_one_split(tmp_path):
    utterances = msp_podcast.read(write_tree(tmp_path, invent(400, test3=5), audio=False)).utterances
    splits = {}
    for utterance in utterances:
        splits.setdefault(utterance.speaker, set()).add(utterance.split)
    assert len(utterances) == 405
    assert [s for name, s in splits.items() if name is not None and len(s) > 1] == []
    assert all(len(u.ratings) >= 5 for u in utterances if u.split != "test3")
