"""Segments are sentences of a speaker, 2 to 15 seconds, and nothing that was said is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.errors import InputError
from multimodal_ser.podcast.segments import SHORTEST_SOUND, SegmentPolicy, segments_of, speech_cues
from multimodal_ser.transcripts.cues import Cue, Word
from multimodal_ser.transcripts.nist import Turn
from multimodal_ser.transcripts.speech import Span

POLICY = SegmentPolicy()


def said(*cues: tuple[float, float, str, str | None]) -> list[tuple[float, float, str, str | None]]:
    found = segments_of([Cue(*cue) for cue in cues], [], 1_000.0)
    return [(cue.start, cue.end, cue.text, cue.speaker) for cue in found]


def test_pieces_of_a_sentence_are_put_together_until_it_ends() -> None:
    assert said((0, 1, "I was", "A"), (1.2, 2.5, "there.", "A"), (2.7, 5, "You were not.", "A")) == [
        (0, 2.5, "I was there.", "A"),
        (2.7, 5, "You were not.", "A"),
    ]


def test_a_pause_and_another_speaker_end_a_segment() -> None:
    assert [text for *_, text, _ in said((0, 3, "well", "A"), (5, 8, "then", "A"), (8.1, 11, "no", "B"))] == [
        "well",
        "then",
        "no",
    ]


def test_a_tiny_piece_joins_its_speaker_s_neighbour_but_not_over_somebody_else() -> None:
    near = said((0, 4, "That is all.", "A"), (5.0, 5.4, "Yes.", "A"))
    assert near == [(0, 5.4, "That is all. Yes.", "A")]
    over = said((0, 4, "That is all.", "A"), (4.2, 4.6, "Oh!", "B"), (4.8, 5.2, "Yes.", "A"))
    assert [text for *_, text, _ in over] == ["That is all.", "Oh!", "Yes."]


def test_cross_talk_stays_with_each_speaker() -> None:
    found = said((0, 3, "I think", "A"), (2.5, 5, "Never.", "B"), (3.1, 6, "that it is.", "A"))
    assert found == [(0, 6, "I think that it is.", "A"), (2.5, 5, "Never.", "B")]


def test_a_long_cue_is_cut_at_its_longest_pause_near_the_middle() -> None:
    words = [Word(f"w{n}", float(n), n + 0.8) for n in range(10)]
    words += [Word(f"w{n}", n + 2.0, n + 2.8) for n in range(10, 18)]  # a pause of 2.2 s before w10
    cue = Cue(0.0, 19.8, " ".join(word.text for word in words), "A", tuple(words))
    first, second = segments_of([cue], [], 30.0)
    assert (first.end, second.start) == (9.8, 12.0)
    assert first.text.split()[-1] == "w9"


@st.composite
def conversations(draw) -> list[Cue]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    clock, cues = 0.0, []
    for number in range(draw(st.integers(0, 30))):
        clock += float(generator.choice([0.0, 0.1, 0.5, 1.2, 4.0]))
        length = float(generator.choice([0.05, 0.4, 1.5, 4.0, 12.0, 40.0]))
        words = [
            f"{number}-{n}" + str(generator.choice(["", "", ",", "."])) for n in range(1 + int(length * 2))
        ]
        cues.append(Cue(clock, clock + length, " ".join(words), str(generator.choice(["A", "B"]))))
        clock += length * float(generator.choice([0.8, 1.0]))
    return cues


@settings(max_examples=60, deadline=None)
@given(conversations())
def test_every_word_is_in_one_segment_of_its_speaker_and_none_is_too_long(cues: list[Cue]) -> None:
    found = segments_of(cues, [], 10_000.0)
    lasting = [cue for cue in cues if cue.end - cue.start >= 1.0]  # the tiniest may be no sound at all
    for speaker in "AB":
        words = {word for cue in found if cue.speaker == speaker for word in cue.text.split()}
        assert {word for cue in lasting if cue.speaker == speaker for word in cue.text.split()} <= words
    spoken = [word for cue in found for word in cue.text.split()]
    assert len(spoken) == len(set(spoken))
    assert all(SHORTEST_SOUND <= cue.end - cue.start <= POLICY.longest + 1e-9 for cue in found)
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)


def test_without_words_speech_is_cut_by_length_and_by_speaker() -> None:
    spans = [Span(0.0, 20.0), Span(30.0, 36.0)]
    turns = [Turn(29.0, 33.0, "A"), Turn(33.0, 40.0, "B")]
    found = segments_of([], speech_cues(spans, turns), 60.0)
    assert [(cue.start, cue.end, cue.speaker) for cue in found] == [
        (0.0, 10.0, None),
        (10.0, 20.0, None),
        (30.0, 33.0, "A"),
        (33.0, 36.0, "B"),
    ]


def test_windows_cover_the_recording_and_hold_the_words_in_them() -> None:
    words = tuple(Word(f"w{n}", n, n + 0.5) for n in range(20))
    cue = Cue(0.0, 20.0, " ".join(word.text for word in words), "A", words)
    found = segments_of([cue], [], 20.0, SegmentPolicy(window=8, hop=4))
    assert [(cue.start, cue.end) for cue in found] == [(0, 8), (4, 12), (8, 16), (12, 20), (16, 20)]
    assert found[1].text.split() == [f"w{n}" for n in range(4, 12)]
    assert {cue.speaker for cue in found} == {"A"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hop": 4.0}, "--hop 4 needs --window"),
        ({"window": 4.0, "hop": 8.0}, "at most a window"),
        ({"window": 0.1}, "windows last 0.5 s or more"),
        ({"shortest": 20.0}, "0 < shortest < longest"),
    ],
)
def test_policies_that_cannot_be_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        SegmentPolicy(**wrong)
