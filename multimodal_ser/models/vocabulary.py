"""The vocabulary of a small text encoder that is trained from scratch."""

from collections import Counter
from collections.abc import Iterable

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from multimodal_ser.models.word_pieces import MARKERS

ALPHABET = "abcdefghijklmnopqrstuvwxyz'"  # always in a vocabulary


def vocabulary_of(texts: Iterable[str], size: int) -> list[str]:
    """Markers, characters (alone and as word parts), then the most frequent words: `size` in all, or fewer.

    A word outside the vocabulary is spelled. Characters take half of `size` at most, beside the alphabet
    that is always there. Ties are broken by the alphabet, so that the same texts always give the same
    vocabulary.
    """
    # BERT decides what a word is, so that the vocabulary and the tokenizer agree.
    normalizer, splitter = BertNormalizer(), BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    room = max(len(ALPHABET), (size // 2 - len(MARKERS)) // 2)
    others = [letter for letter in _by_frequency(letters) if letter not in ALPHABET]
    spelled = sorted([*ALPHABET, *others[: room - len(ALPHABET)]])
    spelling = [*MARKERS, *spelled, *("##" + letter for letter in spelled)]
    known = set(spelling)
    whole = [word for word in _by_frequency(words) if word not in known]
    return spelling + whole[: max(0, size - len(spelling))]


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))
