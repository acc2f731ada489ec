"""Plain text laid onto what a recogniser heard: times against planted ones, and what cannot be laid."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from multimodal_ser.edits import edit_distance
from multimodal_ser.errors import InputError
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors
from multimodal_ser.transcripts import aligning
from multimodal_ser.transcripts.aligning import GUESSED, NOT_SAID, aligned, matches
from multimodal_ser.transcripts.cues import Transcript, Word
from multimodal_ser.transcripts.reading import read_transcript

SENTENCES = (
    "Who would have thought so? Nobody in this town, I tell you. We went down to the river at noon.",
    "It was cold and the well-known bridge was closed. So we waited for an hour, maybe two.",
)


def transcript_of(tmp_path: Path, text: str) -> Transcript:
    path = tmp_path / "talk.txt"
    path.write_text(text, encoding="utf-8")
    return read_transcript(path)


def spoken(text: str, each: float = 0.4, start: float = 1.0) -> list[Word]:
    """Each word after the other, without punctuation and in small letters, as some recognisers write."""
    words = [word.strip(".,?!").lower() for word in text.split()]
    return [
        Word(w, round(start + n * each, 3), round(start + n * each + 0.3, 3), 0.9)
        for n, w in enumerate(words)
    ]


def test_words_get_the_times_at_which_they_are_heard_and_keep_their_spelling(tmp_path):
    text = f"Ann: {SENTENCES[0]}\nBob: {SENTENCES[1]}\n"
    heard = spoken(" ".join(SENTENCES))
    found = aligned(transcript_of(tmp_path, text), heard, 60.0)
    assert found.timed
    assert found.problems == ()
    assert [cue.speaker for cue in found.cues] == ["Ann"] * 3 + ["Bob"] * 2
    assert " ".join(cue.text for cue in found.cues) == " ".join(SENTENCES)
    words = [word for cue in found.cues for word in cue.words]
    assert [(word.start, word.end) for word in words] == [(word.start, word.end) for word in heard]
    assert (found.cues[0].start, found.cues[0].end) == (1.0, 2.9)
    assert found.cues[0].confidence == pytest.approx(0.9)


def test_a_word_that_is_heard_as_two_lasts_as_long_as_both(tmp_path):
    heard = [*spoken("the", start=1.0), *spoken("well known", start=2.0), *spoken("bridge", start=3.0)]
    (cue,) = aligned(transcript_of(tmp_path, "the well-known bridge"), heard, 9.0).cues
    assert [(word.text, word.start, word.end) for word in cue.words] == [
        ("the", 1.0, 1.3),
        ("well-known", 2.0, 2.7),
        ("bridge", 3.0, 3.3),
    ]


def test_a_word_taken_for_another_has_its_time_but_no_confidence(tmp_path):
    heard = spoken("who wood have thought so")
    (cue,) = aligned(transcript_of(tmp_path, "Who would have thought so?"), heard, 9.0).cues
    assert (cue.words[1].text, cue.words[1].start, cue.words[1].confidence) == ("would", 1.4, None)


def test_missed_words_share_the_time_between_their_neighbours_and_are_counted(tmp_path):
    heard = spoken("who would have thought so")
    del heard[1:3]
    found = aligned(transcript_of(tmp_path, "Who would have thought so?"), heard, 9.0)
    words = found.cues[0].words
    assert [word.text for word in words] == ["Who", "would", "have", "thought", "so?"]
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(words))
    assert [(p.place, p.what, p.detail) for p in found.problems] == [
        ("line 1", GUESSED, "2 of 5, the first 'would'")
    ]


def test_a_missed_beginning_of_a_sentence_lies_right_before_what_follows(tmp_path):
    heard = [*spoken("so we waited", start=1.0), *spoken("two hours", start=30.0)]
    found = aligned(transcript_of(tmp_path, "So we waited.\nOnly two hours."), heard, 60.0)
    assert [(cue.start, cue.end) for cue in found.cues] == [(1.0, 2.1), (29.5, 30.7)]


def test_what_there_is_no_time_for_is_left_out_and_told(tmp_path):
    notes = "This episode is brought to you by the makers of fine umbrellas"
    heard = spoken(" ".join(SENTENCES), each=0.31)
    text = f"{SENTENCES[0]}\n\n{notes}\n\n{SENTENCES[1]}\n"
    found = aligned(transcript_of(tmp_path, text), heard, 60.0)
    assert " ".join(cue.text for cue in found.cues) == " ".join(SENTENCES)
    assert [(p.place, p.what) for p in found.problems] == [("line 3", NOT_SAID)]


def test_a_text_of_another_recording_is_refused(tmp_path):
    transcript = transcript_of(tmp_path, SENTENCES[0])
    for heard in (spoken("entirely different words that fit nothing here at all"), []):
        with pytest.raises(InputError, match=r"talk\.txt: \d of 20 words .* belong to another one"):
            aligned(transcript, heard, 60.0)


def test_scripts_without_blanks_are_compared_sign_by_sign(tmp_path):
    heard = [Word("今天", 1.0, 1.4), Word("天气很好", 1.5, 2.5), Word("我们去公园", 4.0, 5.0)]
    found = aligned(transcript_of(tmp_path, "今天天气很好。我们去公园！"), heard, 9.0)
    assert [(cue.text, cue.start, cue.end) for cue in found.cues] == [
        ("今天天气很好。", 1.0, 2.5),
        ("我们去公园！", 4.0, 5.0),
    ]


def test_the_table_has_the_fewest_errors_and_the_pairs_rise():
    generator = np.random.default_rng(0)
    for _ in range(50):
        said, heard = (["abcd"[n] for n in generator.integers(4, size=size)] for size in (12, 15))
        pairs = matches(said, heard)
        assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
        substituted = sum(said[i] != heard[j] for i, j in pairs)
        errors = len(said) + len(heard) - 2 * len(pairs) + substituted
        assert errors == edit_distance(said, heard)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_a_long_text_is_laid_by_its_rare_runs(rate, monkeypatch):
    """The pairs are nearly those of the whole table, though no table is larger than a small share of it."""
    generator = np.random.default_rng(1)
    words = [f"w{n}" for n in range(400)]
    chances = 1 / np.arange(1, 401)
    said = list(generator.choice(words, size=3000, p=chances / chances.sum()))
    errors = TranscriptErrors(TranscriptConfig(corrupted=1.0), [" ".join(said)])
    heard = errors.corrupt(" ".join(said), rate, generator).split()
    same = sum(said[i] == heard[j] for i, j in matches(said, heard))
    monkeypatch.setattr(aligning, "MOST_CELLS", 40_000)
    pairs = matches(said, heard)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
    assert sum(said[i] == heard[j] for i, j in pairs) > 0.99 * same
