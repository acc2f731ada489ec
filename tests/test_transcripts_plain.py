"""Plain text: paragraphs, names, and times that are no times of ours."""

from pathlib import Path

from multimodal_ser.transcripts.cues import Transcript
from multimodal_ser.transcripts.reading import read_transcript


def read(tmp_path: Path, text: str) -> Transcript:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    return read_transcript(path)


def said(transcript: Transcript) -> list[tuple]:
    assert all((cue.start, cue.end) == (None, None) for cue in transcript.cues)
    return [(cue.speaker, cue.text) for cue in transcript.cues]


def test_paragraphs_are_cues_without_times(tmp_path):
    found = read(tmp_path, "One line\nand another.\n\n\nA second paragraph.\n")
    assert (found.timed, found.source, found.problems) == (False, "txt", ())
    assert said(found) == [(None, "One line and another."), (None, "A second paragraph.")]
    assert [cue.place for cue in found.cues] == ["line 1", "line 5"]


def test_lines_are_cues_where_no_line_is_empty(tmp_path):
    assert said(read(tmp_path, "One.\nTwo.\n")) == [(None, "One."), (None, "Two.")]


def test_names_before_lines_are_speakers(tmp_path):
    text = "Ann: Hello.\nHow are you?\nBob: Fine.\n\nAnn: Good."
    assert said(read(tmp_path, text)) == [("Ann", "Hello. How are you?"), ("Bob", "Fine."), ("Ann", "Good.")]


def test_labels_as_whisperx_writes_them_are_speakers(tmp_path):
    text = "[SPEAKER_00]: Hello there, Bob.\n[SPEAKER_01]: In 1984?\n"
    assert said(read(tmp_path, text)) == [("SPEAKER_00", "Hello there, Bob."), ("SPEAKER_01", "In 1984?")]


def test_times_in_the_text_are_taken_out_and_reported(tmp_path):
    found = read(tmp_path, "[00:01] Ann: At 10:30 we left.\n00:01:12 Bob: Yes.\nAnn (1:15): No.\n")
    assert said(found) == [("Ann", "At 10:30 we left."), ("Bob", "Yes."), ("Ann", "No.")]
    assert [str(problem) for problem in found.problems] == [
        "line 1: times in a plain text are not used and were taken out of the words: 3 lines"
    ]
