"""Which file is taken, what it is taken for, in which encoding, and what is refused."""

import json
from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts import reading
from multimodal_ser.transcripts.reading import (
    READERS,
    find_beside,
    find_speakers_beside,
    read_speakers,
    read_transcript,
)

SRT = "1\n00:00:01,000 --> 00:00:02,000\nÇa va – “oui”\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\nÇa va – “oui”\n"
JSON = json.dumps({"segments": [{"start": 1, "end": 2, "text": "Ça va – “oui”"}]}, ensure_ascii=False)
GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<exists>\n1\n"IntervalTier"\n"text"\n0\n3\n'
    '1\n1\n2\n"Ça va – “oui”"\n'
)
CTM = "e 1 1.0 0.2 Ça\ne 1 1.2 0.2 va\ne 1 1.4 0.2 –\ne 1 1.6 0.4 “oui”\n"
TXT = "Ça va – “oui”\n"
OF_KIND = {"srt": SRT, "vtt": VTT, "json": JSON, "textgrid": GRID, "ctm": CTM, "txt": TXT}


def placed(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("x", encoding="utf-8")


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_format_is_read_in_every_encoding(tmp_path, kind, encoding):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(OF_KIND[kind].encode(encoding))
    found = read_transcript(path)
    assert [cue.text for cue in found.cues] == ["Ça va – “oui”"]
    assert found.path == path
    guessed = ["not UTF-8, letters beyond ASCII may be wrong: read as cp1252"]
    assert [str(problem) for problem in found.problems] == (guessed if encoding == "cp1252" else [])
    if kind != "txt":
        assert (found.cues[0].start, found.cues[0].end, found.timed) == (1.0, 2.0, True)


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "txt"])
@pytest.mark.parametrize("suffix", [".txt", ".srt", ".vtt", ".json", ".ctm", ".TextGrid", ".xyz", ""])
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path, kind, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text(OF_KIND[kind], encoding="utf-8")
    assert [cue.start for cue in read_transcript(path).cues] == [1.0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"ID3\x04\x00\x00\x00\x00\x00", "binary data and no text; known formats: SubRip"),
        ("a.TextGrid", b"ooBinaryFile\x08TextGrid", "binary data and no text"),
        ("a.txt", b"<!DOCTYPE html><p>Hi", "an HTML page, which cannot be read; known formats: SubRip"),
        ("a.srt", b'<?xml version="1.0"?><tt>', "an XML, XHTML or SAMI file"),
        ("a.srt", b"[Script Info]\nTitle: x", "an ASS or SSA subtitle file"),
        ("a.docx", b"some words", "no known format of transcript; known formats: SubRip"),
        ("a.srt", b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS stub"),
    ],
)
def test_what_is_no_transcript_is_refused_by_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_transcript(tmp_path / name)


def test_missing_files_folders_and_giants_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such transcript"):
        read_transcript(tmp_path / "a.srt")
    with pytest.raises(InputError, match="not a file"):
        read_transcript(tmp_path)
    with pytest.raises(InputError, match="no such transcript"):
        read_speakers(tmp_path / "a.rttm")
    monkeypatch.setattr(reading, "MOST_BYTES", 2**20)
    (tmp_path / "a.srt").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError, match=r"1 MiB, too large for a transcript \(at most 1\)"):
        read_transcript(tmp_path / "a.srt")


def test_the_length_of_the_audio_reaches_the_repairs(tmp_path):
    (tmp_path / "a.srt").write_text(SRT, encoding="utf-8")
    assert [(cue.start, cue.end) for cue in read_transcript(tmp_path / "a.srt", 1.5).cues] == [(1.0, 1.5)]


def test_an_empty_file_is_an_empty_transcript_and_says_so(tmp_path):
    (tmp_path / "a.srt").write_bytes(b"")
    found = read_transcript(tmp_path / "a.srt")
    assert (found.cues, [str(problem) for problem in found.problems]) == ((), ["the file is empty"])


def test_problems_are_summed_up_by_sort(tmp_path):
    cues = [f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{'' if n else 'Hi'}\n\n" for n in range(6)]
    (tmp_path / "a.srt").write_text("".join(cues), encoding="utf-8")
    assert read_transcript(tmp_path / "a.srt").summary() == [
        "5 x no words, left out (line 6, line 10, line 14, ...)"
    ]


@pytest.mark.slow
def test_a_megabyte_of_what_looks_like_the_beginning_of_something_is_refused_or_read(tmp_path):
    path = tmp_path / "a.vtt"
    head = "WEBVTT\n\n00:01.000 --> 00:02.000\n"
    for filling in ("<", "<v ", "&", "&amp", "{\\", "[", ">> ", "A: ", "-->", "00:01.000 --> ", "\n", "( "):
        path.write_text(head + filling * (1_000_000 // len(filling)), encoding="utf-8")
        assert len(read_transcript(path).cues) <= 1
    grid = tmp_path / "a.TextGrid"
    for filling in ('"', '" ', '""" ', '"a ', "1 ", '""a ', "!"):
        grid.write_text(GRID.split("0\n3")[0] + filling * (1_000_000 // len(filling)), encoding="utf-8")
        with pytest.raises(InputError):
            read_transcript(grid)


ORDER = [
    "episode.vtt",
    "episode.mp3.vtt",
    "episode.en.vtt",
    "episode.srt",
    "episode.json",
    "episode.transcript.json",
    "episode.TextGrid",
    "episode.ctm",
    "episode.txt",
]


def test_the_transcript_beside_is_taken_in_a_fixed_order(tmp_path):
    media = tmp_path / "episode.mp3"
    placed(tmp_path, "episode.mp3", *ORDER)
    for name in ORDER:
        assert find_beside(media) == tmp_path / name
        (tmp_path / name).unlink()
    assert find_beside(media) is None


@pytest.mark.parametrize("name", ["episode.VTT", "episode.Srt", "episode.textgrid", "episode.TEXTGRID"])
def test_suffixes_are_found_in_any_case(tmp_path, name):
    placed(tmp_path, name)
    assert find_beside(tmp_path / "episode.mp3") == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "episode.emotion.vtt",
        "episode.emotion.json",
        "episode.mp3.emotion.vtt",
        "episode.emotion.TextGrid",
        "episode2.vtt",
        "Episode.vtt",
        "episode.info.json",
        "episode.part.vtt",
        "other.vtt",
        "episode.csv",
        "episode.rttm",
    ],
)
def test_our_own_output_and_files_of_others_are_never_taken(tmp_path, name):
    placed(tmp_path, "episode.mp3", name)
    assert find_beside(tmp_path / "episode.mp3") is None


def test_output_is_not_taken_even_for_media_of_that_name(tmp_path):
    placed(tmp_path, "a.emotion.mp3", "a.emotion.vtt")
    assert find_beside(tmp_path / "a.emotion.mp3") is None


def test_a_name_with_a_language_that_belongs_to_another_media_file_is_not_taken(tmp_path):
    placed(tmp_path, "show.mp3", "show.ii.mp3", "show.ii.vtt")
    assert find_beside(tmp_path / "show.mp3") is None
    assert find_beside(tmp_path / "show.ii.mp3") == tmp_path / "show.ii.vtt"


def test_folders_are_no_transcripts_and_a_missing_folder_has_none(tmp_path):
    (tmp_path / "episode.vtt").mkdir()
    assert find_beside(tmp_path / "episode.mp3") is None
    assert find_beside(tmp_path / "nowhere" / "episode.mp3") is None


def test_a_media_file_that_is_text_is_not_its_own_transcript(tmp_path):
    placed(tmp_path, "episode.txt")
    assert find_beside(tmp_path / "episode.txt") is None


def test_speakers_are_found_beside_the_media(tmp_path):
    placed(tmp_path, "episode.rttm", "episode.vtt")
    assert find_speakers_beside(tmp_path / "episode.mp3") == tmp_path / "episode.rttm"
    assert find_speakers_beside(tmp_path / "other.mp3") is None
