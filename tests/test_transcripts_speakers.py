"""Speakers by overlap: by hand, and against a count of milliseconds."""

import random

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Transcript, Word
from multimodal_ser.transcripts.nist import Turn
from multimodal_ser.transcripts.speakers import attach_speakers

TURNS = [Turn(0.0, 2.0, "A"), Turn(2.0, 5.0, "B"), Turn(6.0, 7.0, "A")]


def transcript(*cues: Cue) -> Transcript:
    return Transcript(cues, None, "srt")


def test_the_speaker_of_the_longest_overlap_is_named_and_replaces_other_names():
    found = attach_speakers(transcript(Cue(0, 1.9, "a", "Ann"), Cue(1.8, 4, "b"), Cue(4.9, 7, "c")), TURNS)
    assert [cue.speaker for cue in found.cues] == ["A", "B", "A"]
    assert found.problems == ()


def test_turns_of_one_speaker_add_up():
    turns = [Turn(0, 1, "A"), Turn(1, 2.5, "B"), Turn(2.5, 4, "A")]
    assert attach_speakers(transcript(Cue(0, 4, "a")), turns).cues[0].speaker == "A"


def test_among_equals_the_one_who_began_first_is_named():
    turns = [Turn(1, 2, "A"), Turn(0, 1, "B")]
    found = attach_speakers(transcript(Cue(0, 2, "a", place="line 1")), turns)
    assert found.cues[0].speaker == "B"
    assert [str(problem) for problem in found.problems] == [
        "line 1: two speakers in one cue, the longer one is named: B, A"
    ]


def test_a_cue_that_no_turn_overlaps_has_no_speaker_and_is_reported():
    found = attach_speakers(transcript(Cue(5, 6, "a", "Ann", place="line 1"), Cue(9, 10, "b")), TURNS)
    assert [cue.speaker for cue in found.cues] == [None, None]
    assert str(found.problems[0]) == "line 1: no speaker's turn overlaps this cue: 5 to 6"


def test_words_have_the_speaker_of_their_own_time():
    words = (Word("a", 1.0, 1.5), Word("b", 2.5, 3.0), Word("c"), Word("d", 5.2, 5.4))
    found = attach_speakers(transcript(Cue(1, 5.5, "a b c d", words=words)), TURNS)
    assert [word.speaker for word in found.cues[0].words] == ["A", "B", "B", "B"]


def test_a_long_turn_counts_behind_many_short_ones():
    turns = [Turn(0, 100, "host"), *(Turn(n, n + 0.1, "guest") for n in range(1, 90))]
    assert attach_speakers(transcript(Cue(95, 96, "a")), turns).cues[0].speaker == "host"


def test_overlaps_agree_with_a_count_of_milliseconds():
    generator = random.Random(3)
    turns = []
    for name in ("A", "B", "C"):
        for _ in range(8):
            start = generator.randrange(9000)
            turns.append(Turn(start / 1000, (start + generator.randrange(1, 1500)) / 1000, name))
    for _ in range(50):
        start = generator.randrange(9000)
        end = start + generator.randrange(1, 2000)
        counts = dict.fromkeys("ABC", 0)
        for turn in turns:
            first, last = round(1000 * turn.start), round(1000 * turn.end)
            counts[turn.speaker] += max(0, min(end, last) - max(start, first))
        found = attach_speakers(transcript(Cue(start / 1000, end / 1000, "a")), turns).cues[0].speaker
        assert counts.get(found, 0) == max(counts.values())


def test_a_transcript_without_times_cannot_have_speakers_attached():
    plain = Transcript((Cue(None, None, "a"),), None, "txt", timed=False)
    with pytest.raises(InputError, match=r"without times \(txt\): align it to the audio first"):
        attach_speakers(plain, TURNS)
