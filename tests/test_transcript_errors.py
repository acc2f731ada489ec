"""Transcript errors against a plain Levenshtein distance, counts, and the published Soundex examples."""

import pickle
from functools import cache

import numpy as np
import pytest

from multimodal_ser.edits import edit_distance
from multimodal_ser.errors import InputError
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors, soundex

WORDS = ["the", "a", "and", "to", "of", "it", "that", "is", "was", "he", "for", "we", "they", "there",
         "their", "been", "bean", "night", "knight", "sun", "son", "can't"]  # fmt: skip
SENTENCES = [" ".join(WORDS[(7 * n + 3 * k) % len(WORDS)] for k in range(4 + n % 17)) for n in range(300)]


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance by its recursive definition."""

    @cache
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            between(i - 1, j) + 1,
            between(i, j - 1) + 1,
            between(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1]),
        )

    return between(len(reference), len(hypothesis))


def errors(texts=SENTENCES, **settings) -> TranscriptErrors:
    return TranscriptErrors(TranscriptConfig(corrupted=1.0, **settings), texts)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.6, 1.0])
def test_the_measured_word_error_rate_is_the_requested_one(rate: float) -> None:
    generator = np.random.default_rng(1)
    change = errors()
    wrong = words = 0
    for text in SENTENCES * 2:
        reference = text.split()
        wrong += distance(reference, change.corrupt(text, rate, generator).split())
        words += len(reference)
    deviation = np.sqrt(rate * (1 - rate) / words)
    assert wrong / words == pytest.approx(rate, abs=max(4 * deviation, 1e-12))


@pytest.mark.parametrize(
    "shares", [{"substitutions": 1.0, "deletions": 0.0}, {"substitutions": 0.0, "deletions": 1.0},
               {"substitutions": 0.0, "deletions": 0.0}]
)  # fmt: skip
def test_the_rate_holds_for_each_kind_of_error_alone(shares: dict) -> None:
    generator = np.random.default_rng(2)
    change = errors(**shares)
    pairs = [(text.split(), change.corrupt(text, 0.3, generator).split()) for text in SENTENCES]
    rate = sum(distance(*pair) for pair in pairs) / sum(len(reference) for reference, _ in pairs)
    assert rate == pytest.approx(0.3, abs=0.035)
    growth = sum(len(said) - len(reference) for reference, said in pairs)
    kind = max(shares, key=shares.get) if any(shares.values()) else "insertions"
    assert np.sign(growth) == {"substitutions": 0, "deletions": -1, "insertions": 1}[kind]


def test_kinds_of_errors_have_their_shares() -> None:
    """In sentences of words that all differ the alignment is plain, so that kinds can be counted."""
    vocabulary = [f"word{n}" for n in range(5_000)]
    change = errors([" ".join(vocabulary)], substitutions=0.6, deletions=0.25, sound_alikes=0.0)
    generator = np.random.default_rng(3)
    deleted = inserted = total = 0
    for start in range(0, 5_000, 50):
        reference = vocabulary[start : start + 50]
        said = change.corrupt(" ".join(reference), 0.1, generator).split()
        found = distance(reference, said)
        gone = sum(word not in said for word in reference)
        new = sum(word not in reference for word in said)
        total += found
        deleted += found - new
        inserted += found - gone
    assert deleted / total == pytest.approx(0.25, abs=0.08)
    assert inserted / total == pytest.approx(0.15, abs=0.07)


def test_the_fast_distance_is_the_plain_one() -> None:
    generator = np.random.default_rng(4)
    for _ in range(300):
        pair = [
            [str(word) for word in generator.choice(["a", "b", "c", "d"], generator.integers(0, 9))]
            for _ in range(2)
        ]
        assert edit_distance(*pair) == distance(*pair)


@pytest.mark.parametrize(
    ("word", "code"),
    [("Robert", "R163"), ("Rupert", "R163"), ("Rubin", "R150"), ("Ashcraft", "A261"), ("Ashcroft", "A261"),
     ("Tymczak", "T522"), ("Pfister", "P236"), ("Honeyman", "H555"), ("Lee", "L000"), ("Gutierrez", "G362"),
     ("Jackson", "J250"), ("VanDeusen", "V532"), ("Müller", "M460"), ("can't", "C530"), ("42", ""), ("", "")],
)  # fmt: skip
def test_soundex_gives_the_codes_of_the_national_archives(word: str, code: str) -> None:
    assert soundex(word) == code


def test_substitutes_sound_alike_where_the_vocabulary_has_such_words() -> None:
    change = errors(["night knight nacht sun son robert rupert zebra"], substitutions=1.0, deletions=0.0,
                    sound_alikes=1.0)  # fmt: skip
    generator = np.random.default_rng(5)
    said = {change.corrupt("robert", 1.0, generator) for _ in range(50)}
    assert said == {"rupert"}
    assert {change.corrupt("sun", 1.0, generator) for _ in range(50)} == {"son"}


def test_substitutes_come_by_their_frequency_in_the_training_texts() -> None:
    change = errors(["often " * 90 + "seldom " * 10], substitutions=1.0, deletions=0.0, sound_alikes=0.0)
    generator = np.random.default_rng(6)
    said = [change.corrupt("stranger", 1.0, generator) for _ in range(1_000)]
    assert said.count("often") / 1_000 == pytest.approx(0.9, abs=0.04)


def test_a_substitute_takes_over_punctuation_and_the_capital_letter() -> None:
    change = errors(["robert rupert"], substitutions=1.0, deletions=0.0)
    assert change.corrupt('"Robert,', 1.0, np.random.default_rng(0)) == '"Rupert,'


def test_a_word_without_any_substitute_is_lost() -> None:
    change = errors(["alone"], substitutions=1.0, deletions=0.0)
    assert change.corrupt("alone", 1.0, np.random.default_rng(0)) == ""


def test_empty_texts_and_rate_zero_change_nothing() -> None:
    generator = np.random.default_rng(0)
    assert errors().corrupt("", 1.0, generator) == ""
    assert errors().corrupt("  two   blanks ", 0.0, generator) == "  two   blanks "


def test_the_stated_share_of_transcripts_is_corrupted_at_rates_within_the_range() -> None:
    change = TranscriptErrors(TranscriptConfig(corrupted=0.25, word_error_rate=(0.5, 1.0)), SENTENCES)
    generator = np.random.default_rng(8)
    text = " ".join(WORDS)
    rates = [distance(WORDS, change(text, generator).split()) / len(WORDS) for _ in range(800)]
    corrupted = [rate for rate in rates if rate > 0]
    assert len(corrupted) / 800 == pytest.approx(0.25, abs=0.06)
    assert np.mean(corrupted) == pytest.approx(0.75, abs=0.05)


def test_the_generator_decides_everything_in_worker_processes_too() -> None:
    change = errors()
    copied = pickle.loads(pickle.dumps(change))
    said = [
        [one(text, np.random.default_rng(9)) for text in SENTENCES[:50]] for one in (change, change, copied)
    ]
    assert said[0] == said[1] == said[2]
    assert said[0] != [change(text, np.random.default_rng(10)) for text in SENTENCES[:50]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"corrupted": 2.0}, r"transcripts.corrupted = 2.0: a share from 0 to 1"),
        ({"substitutions": 0.8, "deletions": 0.4}, r"0.8 and 0.4 of all errors, more than 1 together"),
        ({"word_error_rate": (0.4, 0.1)}, r"word_error_rate = \[0.4, 0.1\]: two numbers, the smaller first"),
        ({"word_error_rate": (0.1, 1.4)}, r"from 0 to 1"),
    ],
)
def test_wrong_settings_are_explained(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TranscriptConfig(**wrong)


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(InputError, match="the training texts hold no words"):
        errors(["", "...", " - "])
