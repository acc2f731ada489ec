"""What a transcript is: cues of words with times, speakers and what the recogniser said about itself.

Times are seconds from the start of the recording. Nothing here is repaired: `repair.py` does that, and each
repair or doubt is a `Problem`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LONGEST = 1_000_000.0  # seconds; nothing is recorded for eleven days
PAUSE = 0.5  # seconds without a word that end a cue, for formats that know words only
_SHOWN_PLACES = 3
# Control characters, lone surrogates (JSON can write them, no file can) and invisible marks of direction and
# width. The joiners U+200C and U+200D stay: they belong to words of several scripts.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_SOUND = re.compile(r"\[[^\[\]]*\]|\((?:[^\s()]+\s*){1,3}\)|[*♪♫]+")


@dataclass(frozen=True)
class Word:
    """A word; its two times are both known or both None."""

    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None  # 0..1, as the recogniser gave it
    speaker: str | None = None


@dataclass(frozen=True)
class Cue:
    """What one entry of the file says; both times are None where the format has none."""

    start: float | None
    end: float | None
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    confidence: float | None = None  # mean over the words, 0..1
    avg_logprob: float | None = None  # these three as Whisper writes them, for the trust gate
    no_speech_prob: float | None = None
    compression_ratio: float | None = None
    place: str = ""  # "line 12", or "segment 3" in JSON, whose lines mean nothing


@dataclass(frozen=True)
class Problem:
    """Something that was repaired, left out or is dubious; `place` is empty if it is about the whole file."""

    place: str
    what: str  # the same words for the same thing, so that problems can be counted
    detail: str = ""

    def __str__(self) -> str:
        return tidy(": ".join(part for part in (self.place, self.what, self.detail) if part))


@dataclass(frozen=True)
class Transcript:
    cues: tuple[Cue, ...]
    language: str | None  # as the file names it, such as "en"
    source: str  # kind of file: a name in `reading.READERS`, for JSON with the tool that wrote it
    problems: tuple[Problem, ...] = ()
    timed: bool = True  # False: words without times, which must be aligned before they can be scored
    path: Path | None = None

    @property
    def speakers(self) -> list[str]:
        """The names of the speakers, in order of appearance."""
        return list(dict.fromkeys(cue.speaker for cue in self.cues if cue.speaker is not None))

    def summary(self) -> list[str]:
        """One line for each sort of problem: how often, what, and where at first."""
        counts = Counter(problem.what for problem in self.problems)
        return [_summed(what, count, self.problems) for what, count in counts.most_common()]


def _summed(what: str, count: int, problems: Iterable[Problem]) -> str:
    of_this_sort = [problem for problem in problems if problem.what == what]
    if count == 1:
        return str(of_this_sort[0])
    places = [problem.place for problem in of_this_sort if problem.place][:_SHOWN_PLACES]
    more = ", ..." if count > len(places) else ""
    return f"{count} x {what}" + (f" ({', '.join(places)}{more})" if places else "")


def tidy(text: str) -> str:
    """A text on one line, without invisible characters, runs of blanks made one."""
    return " ".join(_INVISIBLE.sub("", text).split())


def has_words(text: str) -> bool:
    """Whether there is anything to say beside sounds such as [Music], (laughs) and ♪."""
    return any(map(str.isalnum, _SOUND.sub("", text)))


def mean_confidence(words: Iterable[Word]) -> float | None:
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else None


def words_of(cue: Cue) -> list[Word]:
    """The words with times; where there are none, by their share of the letters."""
    if cue.words and all(word.start is not None for word in cue.words):
        return list(cue.words)
    texts = cue.text.split()
    letters = sum(len(text) + 1 for text in texts)
    words, position = [], 0
    for text in texts:
        start = cue.start + (cue.end - cue.start) * position / letters
        position += len(text) + 1
        words.append(Word(text, start, cue.start + (cue.end - cue.start) * position / letters))
    return words


def cues_of_words(words: list[Word], places: list[str]) -> Iterator[Cue]:
    """Cues from words in order of time: a new one after a pause and where the speaker changes."""
    breaks = [
        after
        for after, (word, following) in enumerate(pairwise(words), start=1)
        if following.start - word.end >= PAUSE or following.speaker != word.speaker
    ]
    for first, last in pairwise([0, *breaks, len(words)]):
        if said := words[first:last]:
            end = max(word.end for word in said)
            text = " ".join(word.text for word in said)
            confidence = mean_confidence(said)
            yield Cue(said[0].start, end, text, said[0].speaker, tuple(said), confidence, place=places[first])
