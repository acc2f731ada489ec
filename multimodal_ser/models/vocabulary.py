"""The vocabulary of a small text encoder that is trained from scratch, and BERT's word pieces on it."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ALPHABET = "abcdefghijklmnopqrstuvwxyz'"  # always in a vocabulary
_MARKERS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary_of(texts: Iterable[str], size: int) -> list[str]:
    """Markers, characters (alone and as word parts), then the most frequent words: `size` in all, or fewer.

    A word outside the vocabulary is spelled. Characters take half of `size` at most, beside the alphabet
    that is always there. Ties are broken by the alphabet, so that the same texts always give the same
    vocabulary.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    # BERT decides what a word is, so that the vocabulary and the tokenizer agree.
    normalizer, splitter = BertNormalizer(), BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    room = max(len(ALPHABET), (size // 2 - len(_MARKERS)) // 2)
    others = [letter for letter in _by_frequency(letters) if letter not in ALPHABET]
    spelled = sorted([*ALPHABET, *others[: room - len(ALPHABET)]])
    spelling = [*_MARKERS, *spelled, *("##" + letter for letter in spelled)]
    known = set(spelling)
    whole = [word for word in _by_frequency(words) if word not in known]
    return spelling + whole[: max(0, size - len(spelling))]


def word_pieces(words: Sequence[str]) -> Any:
    """BERT's tokenizer on a vocabulary."""
    from transformers import BertTokenizerFast

    # By way of a file, since that is what versions 4 and 5 of transformers both take.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8", newline="\n")
        return BertTokenizerFast.from_pretrained(folder)


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))
