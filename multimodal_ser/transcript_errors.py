"""Transcripts with the errors of speech recognition, for training that shall not trust every word.

A word is what stands between spaces. The word error rate is (substitutions + deletions + insertions) / words,
by the alignment with the fewest errors (Levenshtein). Single changes can cancel in that count, as an
insertion beside a deletion does; here more are made until it is what was asked for.

Recognisers mostly hear another word that sounds alike: substitutes have the same Soundex code (Russell, 1918)
where the vocabulary has such a word, and otherwise, like insertions, come by their frequency.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.edits import edit_distance
from multimodal_ser.errors import InputError

TRIES = 10  # draws for a substitute that is not the word itself
_SOUNDS = {
    letter: digit
    for letters, digit in (("bfpv", "1"), ("cgjkqsxz", "2"), ("dt", "3"), ("l", "4"), ("mn", "5"), ("r", "6"))
    for letter in letters
}
_SILENT = "hw"  # letters that do not part two of the same sound
_WORD = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


@dataclass(frozen=True)
class TranscriptConfig:
    """How often transcripts get errors in training, and which."""

    corrupted: float = 0.0  # share of transcripts
    word_error_rate: tuple[float, ...] = (0.05, 0.4)  # of each of them, drawn uniformly
    substitutions: float = 0.6  # share of the errors
    deletions: float = 0.25  # share of the errors; what is left are insertions
    sound_alikes: float = 0.7  # share of substitutes that sound alike, where there are any

    def __post_init__(self) -> None:
        for name in ("corrupted", "substitutions", "deletions", "sound_alikes"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"transcripts.{name} = {getattr(self, name)}: a share from 0 to 1")
        if self.substitutions + self.deletions > 1:
            raise InputError(
                f"transcripts: substitutions and deletions are {self.substitutions:g} and {self.deletions:g} "
                "of all errors, more than 1 together"
            )
        rates = self.word_error_rate
        if len(rates) != 2 or not 0 <= rates[0] <= rates[1] <= 1:
            raise InputError(
                f"transcripts.word_error_rate = {list(rates)}: two numbers, the smaller first, from 0 to 1"
            )


class Choice(NamedTuple):
    """Words to be drawn by their frequency."""

    words: list[str]
    ends: NDArray[np.int64]  # cumulative counts

    @classmethod
    def of(cls, words: list[str], counts: Mapping[str, int]) -> "Choice":
        return cls(words, np.cumsum([counts[word] for word in words]))

    def draw(self, generator: np.random.Generator) -> str:
        return self.words[np.searchsorted(self.ends, generator.integers(self.ends[-1]), side="right")]


class TranscriptErrors:
    """Puts errors into transcripts; the words to be mistaken for come from `texts`."""

    def __init__(self, config: TranscriptConfig, texts: Iterable[str]) -> None:
        self.config = config
        counts = Counter(core.lower() for text in texts for word in text.split() if (core := _core(word)))
        if not counts:
            raise InputError("transcripts.corrupted: the training texts hold no words to draw errors from")
        self.words = sorted(counts)
        alike: dict[str, list[str]] = defaultdict(list)
        for word in self.words:
            alike[soundex(word)].append(word)
        self._all = Choice.of(self.words, counts)
        self._alike = {
            code: Choice.of(words, counts) for code, words in alike.items() if code and len(words) > 1
        }

    def __call__(self, text: str, generator: np.random.Generator) -> str:
        if generator.random() >= self.config.corrupted:
            return text
        return self.corrupt(text, generator.uniform(*self.config.word_error_rate), generator)

    def corrupt(self, text: str, rate: float, generator: np.random.Generator) -> str:
        """The text with errors in each word with probability `rate`, which is the mean word error rate."""
        words = text.split()
        wanted = int(generator.binomial(len(words), rate)) if words else 0
        if wanted == 0:
            return text
        heard = [[word] for word in words]  # what stands for each word
        places = generator.permutation(len(words)).tolist()
        made = 0
        while made < wanted:
            for _ in range(wanted - made):
                # Where every word has been touched, only insertions add errors.
                place = places.pop() if places else int(generator.integers(len(words)))
                self._mistake(heard, place, heard[place] == [words[place]], generator)
            flat = [word for part in heard for word in part]
            made = edit_distance(words, flat)
        return " ".join(flat)

    def _mistake(
        self, heard: list[list[str]], place: int, is_untouched: bool, generator: np.random.Generator
    ) -> None:
        """Make one error at a word."""
        die = generator.random()
        if is_untouched and die < self.config.substitutions + self.config.deletions:
            substitute = None
            if die < self.config.substitutions:
                substitute = self._substitute(heard[place][0], generator)
            heard[place] = [] if substitute is None else [substitute]
        else:
            is_behind = int(generator.integers(2))
            heard[place].insert(len(heard[place]) * is_behind, self._all.draw(generator))

    def _substitute(self, word: str, generator: np.random.Generator) -> str | None:
        """Another word in the same spelling and punctuation; None if there is none."""
        before, core, behind = _WORD.match(word).groups()
        alike = self._alike.get(soundex(core), self._all)
        for _ in range(TRIES):
            drawn = (alike if generator.random() < self.config.sound_alikes else self._all).draw(generator)
            if drawn != core.lower():
                return before + (drawn.capitalize() if core[:1].isupper() else drawn) + behind
        return None


def soundex(word: str) -> str:
    """Russell's code for how an English word sounds, such as R163; "" for a word without Latin letters."""
    plain = unicodedata.normalize("NFKD", word.lower())
    letters = [letter for letter in plain if "a" <= letter <= "z"]
    if not letters:
        return ""
    code, last = letters[0].upper(), _SOUNDS.get(letters[0], "")
    for letter in letters[1:]:
        sound = _SOUNDS.get(letter, "")
        if sound and sound != last:
            code += sound
        if letter not in _SILENT:
            last = sound
    return code[:4].ljust(4, "0")


def _core(word: str) -> str:
    """A word without the punctuation around it."""
    return _WORD.match(word)[2]
