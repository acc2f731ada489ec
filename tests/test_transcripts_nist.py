"""CTM and RTTM: files as their tools write them, lines that are not theirs, several recordings in a file."""

from pathlib import Path

import pytest

from multimodal_ser.corpora.episode_files import Event, rttm
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Transcript, Word
from multimodal_ser.transcripts.nist import Turn
from multimodal_ser.transcripts.reading import read_speakers, read_transcript

CTM = """;; comment
episode 1 11.34 0.20 YES 0.75
episode 1 11.60 0.25 you 0.25
episode 1 12.50 0.30 can NA
episode 1 12.80 0.10 %hesitation 0.9 non-lex
"""


def read(tmp_path: Path, text: str, name: str = "episode.ctm") -> Transcript:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_transcript(path)


def said(transcript: Transcript) -> list[tuple]:
    return [(cue.start, cue.end, cue.speaker, cue.text) for cue in transcript.cues]


def test_words_are_joined_where_no_pause_is_between_them(tmp_path):
    found = read(tmp_path, CTM)
    assert said(found) == [(11.34, 11.85, None, "YES you"), (12.5, 12.8, None, "can")]
    assert found.cues[0].words == (Word("YES", 11.34, 11.54, 0.75), Word("you", 11.6, 11.85, 0.25))
    assert [cue.confidence for cue in found.cues] == [0.5, None]
    assert (found.problems, found.source) == ((), "ctm")


def test_speakers_and_channels_each_have_their_own_cues(tmp_path):
    two = "e 1 0.0 0.5 one 1 lex ann\ne 1 0.2 0.5 two 1 lex bob\ne 1 0.6 0.4 three 1 lex ann\n"
    assert said(read(tmp_path, two)) == [(0.0, 1.0, "ann", "one three"), (0.2, 0.7, "bob", "two")]
    channels = "e A 0.0 0.5 one\ne B 0.2 0.5 two\n"
    assert [cue.speaker for cue in read(tmp_path, channels).cues] == ["channel A", "channel B"]


def test_of_several_recordings_the_one_named_like_the_file_counts(tmp_path):
    both = "other 1 0.0 0.5 no\nepisode 1 0.0 0.5 yes\n"
    assert said(read(tmp_path, both)) == [(0.0, 0.5, None, "yes")]
    with pytest.raises(InputError, match=r"holds 2 recordings \(other, episode\) and none is named 'third'"):
        read(tmp_path, both, "third.ctm")


def test_lines_that_are_not_of_the_format_are_left_out_with_their_number(tmp_path):
    found = read(tmp_path, CTM + "episode 1\nepisode 1 soon 0.2 no\nepisode 1 1 nan no\nepisode 1 1 -2 no\n")
    assert [str(problem) for problem in found.problems] == [
        "line 6: not an entry of this format, left out: episode 1",
        "line 7: its times are not times, left out: soon 0.2 no",
        "line 8: its times are not times, left out: 1 nan no",
        "line 9: its times are not times, left out: 1 -2 no",
    ]


def test_a_ctm_without_words_is_refused(tmp_path):
    with pytest.raises(InputError, match="no word found; a line of a CTM file is RECORDING CHANNEL START"):
        read(tmp_path, "nothing of the kind\n")


def test_turns_as_pyannote_writes_them(tmp_path):
    path = tmp_path / "episode.rttm"
    path.write_text(
        "SPEAKER episode 1 2.000 2.125 <NA> <NA> SPEAKER_01 <NA> <NA>\n"
        "SPKR-INFO episode 1 <NA> <NA> <NA> unknown SPEAKER_01 <NA> <NA>\n"
        "SPEAKER episode 1 0.500 1.750 <NA> <NA> SPEAKER_00 <NA> <NA>\n",
        encoding="utf-8",
    )
    assert read_speakers(path) == ([Turn(0.5, 2.25, "SPEAKER_00"), Turn(2.0, 4.125, "SPEAKER_01")], [])


def test_turns_of_our_own_synthetic_episodes_read_back(tmp_path):
    events = [Event(0.5, 4.25, "speech", "Ann", "a"), Event(4.5, 6, "speech", "Ann", "b")]
    path = tmp_path / "x.rttm"
    path.write_text(rttm([*events, Event(8, 9.5, "speech", "Bo", "c")], "my episode"), encoding="utf-8")
    assert read_speakers(path) == ([Turn(0.5, 6.0, "Ann"), Turn(8.0, 9.5, "Bo")], [])


def test_turns_that_cannot_be_are_left_out_with_their_line(tmp_path):
    turns = [("-1", "2", "a"), ("1", "0", "a"), ("1", "nan", "a"), ("1e300", "1", "a"), ("1", "2", "<NA>")]
    path = tmp_path / "x.rttm"
    path.write_text(
        "".join(f"SPEAKER e 1 {start} {long} <NA> <NA> {name} <NA> <NA>\n" for start, long, name in turns)
        + "SPEAKER e 1 1 2 <NA> <NA> a <NA> <NA>\n",
        encoding="utf-8",
    )
    found, problems = read_speakers(path)
    assert found == [Turn(1.0, 3.0, "a")]
    assert [problem.place for problem in problems] == [f"line {number}" for number in range(1, 6)]


@pytest.mark.parametrize("text", ["no turns\n", "SPEAKER e 1 x 1 <NA> <NA> a <NA> <NA>\n"])
def test_an_rttm_without_turns_is_refused(tmp_path, text):
    path = tmp_path / "x.rttm"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no turn found; a line of an RTTM file is SPEAKER RECORDING"):
        read_speakers(path)


def test_an_rttm_given_as_transcript_is_refused_with_the_right_flag(tmp_path):
    with pytest.raises(InputError, match="has speakers and no words; give it as --speakers"):
        read(tmp_path, "SPEAKER e 1 0.5 1 <NA> <NA> a <NA> <NA>\n", "episode.txt")
