"""Repairs of times: one planted fault at a time, and after any faults at all the promised order."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from multimodal_ser.transcripts.cues import Cue, Transcript, Word
from multimodal_ser.transcripts.repair import repaired

BACKWARDS = "does not end after it begins, end guessed from the next cue and the number of words"
TEXT = "one two three four five"  # two seconds at the rate that guesses use


def transcript(*cues: tuple) -> Transcript:
    """Cues from (start, end), (start, end, text) or (start, end, text, speaker), on lines 1, 2, ..."""
    filled = [(*cue, *(TEXT, None)[len(cue) - 2 :]) for cue in cues]
    return Transcript(
        tuple(Cue(*cue[:4], place=f"line {line}") for line, cue in enumerate(filled, start=1)), None, "srt"
    )


def times(found: Transcript) -> list[tuple]:
    return [(cue.start, cue.end) for cue in found.cues]


def problems(found: Transcript) -> list[str]:
    return [str(problem) for problem in found.problems]


def test_good_times_stay_as_they_are():
    good = transcript((0.0, 2.0), (2.0, 4.0), (5.5, 7.25))
    assert repaired(good, 7.25) == good


@pytest.mark.parametrize(
    ("cues", "expected", "problem"),
    [
        (
            [(0, 2), (5, 3), (9, 11)],
            [(0, 2), (5, 7), (9, 11)],
            f"line 2: {BACKWARDS}: 5 to 3",
        ),
        (
            [(0, 2), (5, 5), (6, 8)],
            [(0, 2), (5, 6), (6, 8)],
            f"line 2: {BACKWARDS}: 5 to 5",
        ),
        (
            [(0, 2), (5, None)],
            [(0, 2), (5, 7)],
            "line 2: no usable end time, guessed from the next cue and the number of words",
        ),
        ([(None, 2), (5, 7)], [(5, 7)], f"line 1: no usable start time, left out: {TEXT}"),
        ([(math.nan, 2), (5, 7)], [(5, 7)], f"line 1: no usable start time, left out: {TEXT}"),
        ([(1e300, 2e300), (5, 7)], [(5, 7)], f"line 1: no usable start time, left out: {TEXT}"),
        ([(-1.5, 2)], [(0, 2)], "line 1: begins before the audio, set to 0: -1.5"),
        ([(-3, -1), (5, 7)], [(5, 7)], "line 1: ends before the audio begins, left out: -3 to -1"),
        (
            [(5, 7), (1, 3)],
            [(1, 3), (5, 7)],
            "line 2: begins before the cue above it, sorted: 1 after 5",
        ),
        (
            [(0, 3), (2.5, 4)],
            [(0, 2.5), (2.5, 4)],
            "line 1: overlaps a later cue, end moved to its start: 0.500 seconds",
        ),
        (
            [(0, 36000), (2.5, 4)],
            [(0, 2.5), (2.5, 4)],
            "line 1: overlaps a later cue, end moved to its start: 35997.500 seconds",
        ),
        (
            [(0, 3), (0.25, 4)],
            [(0, 3), (0.25, 4)],
            "line 1: overlaps a later cue and has too many words to be cut, kept: 2.750 seconds",
        ),
        (
            [(0, 3, TEXT, "a"), (2, 4, TEXT, "b")],
            [(0, 3), (2, 4)],
            "line 2: two speakers at once, kept: 1.000 seconds",
        ),
        (
            [(0, 2), (0, 2), (2, 4)],
            [(0, 2), (2, 4)],
            f"line 2: same times and words as another cue, left out: {TEXT}",
        ),
        ([(0, 2), (2, 4, "...")], [(0, 2)], "line 2: no words, left out: ..."),
    ],
)
def test_a_single_fault_is_mended_and_reported_with_its_line(cues, expected, problem):
    found = repaired(transcript(*cues))
    assert times(found) == expected
    assert problems(found) == [problem]


def test_a_cue_is_cut_where_its_speaker_goes_on_even_if_others_spoke_between():
    found = repaired(transcript((0, 9, TEXT, "a"), (2, 4, TEXT, "b"), (8, 11, TEXT, "a")))
    assert times(found) == [(0, 8), (2, 4), (8, 11)]
    assert problems(found) == [
        "line 2: two speakers at once, kept: 7.000 seconds",
        "line 1: overlaps a later cue, end moved to its start: 1.000 seconds",
    ]


def test_an_end_is_not_guessed_from_a_cue_that_begins_together_but_for_rounding():
    found = repaired(transcript((3, 2), (3.0000001, 5)))
    assert times(found) == [(3, 5), (3.0000001, 5)]


def test_overlaps_through_rounded_times_are_mended_without_a_word():
    found = repaired(transcript((0, 2.02), (2, 4)))
    assert (times(found), found.problems) == ([(0, 2), (2, 4)], ())


@pytest.mark.parametrize(
    ("cues", "seconds", "expected", "problem"),
    [
        (
            [(0, 2), (11, 13)],
            10,
            [(0, 2)],
            "line 2: begins after the end of the audio, left out: 11 of 10 seconds",
        ),
        (
            [(0, 2), (8, 13)],
            10,
            [(0, 2), (8, 10)],
            "line 2: ends after the end of the audio, cut there: 13 of 10 seconds",
        ),
        ([(0, 2), (8, 10.5)], 10, [(0, 2), (8, 10)], None),
        (
            [(0, 2), (2, 4)],
            10,
            [(0, 2), (2, 4)],
            "the transcript ends long before the audio; it may be of another recording or cut off: "
            "4 of 10 seconds",
        ),
    ],
)
def test_the_end_of_the_audio_is_the_end(cues, seconds, expected, problem):
    found = repaired(transcript(*cues), seconds)
    assert times(found) == expected
    assert (problem in problems(found)) if problem else not [p for p in found.problems if p.place]


def test_milliseconds_taken_for_seconds_are_found_with_the_audio():
    found = repaired(transcript((0, 2000), (2500, 4000), (8000, 10_000)), 10)
    assert times(found) == [(0, 2), (2.5, 4), (8, 10)]
    assert problems(found) == ["times are milliseconds, divided by 1000: the last was 10000"]


def test_milliseconds_taken_for_seconds_are_found_without_it_beyond_a_day():
    found = repaired(transcript(*((2000 * n, 2000 * n + 2000) for n in range(60))))
    assert times(found)[:2] == [(0, 2), (2, 4)]
    assert problems(found) == ["times are milliseconds, divided by 1000: the last was 120000"]


def test_chapters_of_an_episode_are_slow_and_no_milliseconds():
    chapters = transcript(*((600 * n, 600 * n + 600) for n in range(6)))
    assert repaired(chapters, 3600) == repaired(chapters) == chapters


def test_seconds_taken_for_milliseconds_are_found_and_words_move_along():
    cues = transcript((0.0, 0.002), (0.002, 0.004))
    worded = replace(cues.cues[0], words=(Word("one", 0.0005, 0.001),))
    found = repaired(replace(cues, cues=(worded, cues.cues[1])), 4)
    assert times(found) == [(0, 2), (2, 4)]
    assert found.cues[0].words == (Word("one", 0.5, 1.0),)
    assert problems(found) == [
        "times are a thousandth of what they should be, multiplied by 1000: the last was 0.004"
    ]


def test_words_lie_within_their_cue_or_lose_their_times():
    words = (Word("a", -1, 1), Word("b", 1.5, 2.5), Word("c", 2.5, 3), Word("d"))
    found = repaired(Transcript((Cue(0, 3, TEXT, words=words), Cue(2, 4, TEXT)), None, "srt"))
    assert found.cues[0].words == (Word("a", 0, 1), Word("b", 1.5, 2), Word("c"), Word("d"))


def test_cues_without_times_are_left_without_them():
    plain = Transcript((Cue(None, None, "Hi"), Cue(None, None, "[Music]")), None, "txt", timed=False)
    found = repaired(plain, 10)
    assert [cue.text for cue in found.cues] == ["Hi"]
    assert len(found.problems) == 1


def test_whatever_the_times_are_the_result_is_in_order_within_the_audio_and_repairing_twice_changes_nothing():
    generator = random.Random(7)
    odd = [None, math.nan, math.inf, -5.0, 0.0, 1e12, 49.9999]
    for _ in range(300):
        cues = [
            (
                generator.choice([*odd, generator.uniform(-5, 60), generator.uniform(0, 50)]),
                generator.choice([*odd, generator.uniform(-5, 60), generator.uniform(0, 50)]),
                generator.choice([TEXT, "word", ""]),
                generator.choice([None, "a", "b"]),
            )
            for _ in range(generator.randrange(12))
        ]
        found = repaired(transcript(*cues), 50.0)
        assert all(0 <= cue.start < cue.end <= 50 for cue in found.cues)
        assert all(before.start <= after.start for before, after in pairwise(found.cues))
        assert times(repaired(found, 50.0)) == times(found)
        accounted = len(found.cues) + len({p.place for p in found.problems if "left out" in p.what})
        assert accounted == len(cues)
