"""Plain text gets times: its words are laid onto the words that a recogniser heard, which have some.

The recogniser may mishear: the text stands, only the times are taken. Words that occur in both in the same
order are found by rare runs of words first (as in patience diff), and between those by the alignment with the
fewest errors, so that an episode of hours takes seconds. A word that the recogniser took for another has that
one's time; a few that it missed share the time between their neighbours; many for which there is no time
were not said and are left out, such as headings and show notes.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np

from multimodal_ser.edits import edit_rows
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, Word, mean_confidence
from multimodal_ser.transcripts.trust import SIGNS, WORD

GUESSED = "words that the recogniser missed, their times are guessed"
NOT_SAID = "words that nobody says in the recording, left out"
LEAST_SHARE = 0.3  # of the words that must be heard; below, the text belongs to another recording
MOST_CELLS = 1_000_000  # of a table of the alignment with the fewest errors
RUNS = (5, 4, 3, 2)  # words in a row, rare enough to say where in a long recording one is
FASTEST, SLOWEST = 0.08, 0.5  # seconds that a word with a guessed time has
FEW = 4  # words that may be squeezed where there is no time for them
_PART = re.compile(rf"{SIGNS.pattern}|{WORD.pattern}")
_SENTENCE_END = re.compile(r"(?<=[。！？])|(?<=[.!?…])(?=\s)|(?<=[.!?…]['\")\]»”’])(?=\s)")


@dataclass(frozen=True)
class _Token:
    """A word as it is written, with what follows it up to the next, and as it is compared."""

    text: str
    cue: int  # the sentence that it is of
    parts: tuple[str, ...]


def aligned(transcript: Transcript, heard: Sequence[Word], seconds: float) -> Transcript:
    """The transcript with times for every word, cut into sentences; `heard` has times in order."""
    sentences = [cue for cue in transcript.cues for cue in _sentences(cue)]
    tokens = [token for number, cue in enumerate(sentences) for token in _tokens(cue.text, number)]
    said = [(part, number) for number, token in enumerate(tokens) for part in token.parts]
    listened = [(part, word) for word in heard for part in _parts(word.text)]
    times: dict[int, list[Word]] = {}
    same = 0
    for i, j in matches([part for part, _ in said], [part for part, _ in listened]):
        times.setdefault(said[i][1], []).append(listened[j][1])
        same += said[i][0] == listened[j][0]
    if same < LEAST_SHARE * len(said) or not said:
        raise InputError(
            f"{transcript.path}: {same} of {len(said)} words of this text are heard in the recording; it "
            "seems to belong to another one, or the recogniser does not understand this one (--language, a "
            "larger --asr-model). --transcript none scores what was heard"
        )
    words = _with_times(tokens, times, seconds)
    cues = [
        _cue(sentences[number], [words[n] for n, _ in group])
        for number, group in groupby(
            ((n, token.cue) for n, token in enumerate(tokens) if n in words), key=lambda pair: pair[1]
        )
    ]
    problems = [*transcript.problems, *_doubts(tokens, times, words, sentences)]
    return replace(transcript, cues=tuple(cues), problems=tuple(problems), timed=True)


def matches(said: Sequence[str], heard: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places, rising in both, of words that stand for each other; not all of them are equal."""
    found: list[tuple[int, int]] = []
    boxes = [(0, len(said), 0, len(heard))]
    while boxes:
        first, last, start, end = boxes.pop()
        if (last - first) * (end - start) <= MOST_CELLS:
            found += [(first + i, start + j) for i, j in _fewest_errors(said[first:last], heard[start:end])]
            continue
        for length in RUNS:
            if anchors := _rare_runs(said[first:last], heard[start:end], length):
                edges = [(first + i, start + j) for i, j in anchors]
                found += edges
                corners = [(first - 1, start - 1), *edges, (last, end)]
                boxes += [(a + 1, b, c + 1, d) for (a, c), (b, d) in pairwise(corners)]
                break
    return sorted(found)


def _rare_runs(said: Sequence[str], heard: Sequence[str], length: int) -> list[tuple[int, int]]:
    """Places of the first words of runs that occur once in each, as many as can stand in one order."""
    places = []
    for words in (said, heard):
        runs = [tuple(words[n : n + length]) for n in range(len(words) - length + 1)]
        counts = Counter(runs)
        places.append({run: n for n, run in enumerate(runs) if counts[run] == 1})
    pairs = [(i, places[1][run]) for run, i in places[0].items() if run in places[1]]
    # The longest rising subsequence: the piles of patience sorting, each card with the one it lies behind.
    tops: list[int] = []
    piles: list[int] = []
    behind: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        behind.append(piles[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(j)
            piles.append(number)
        else:
            tops[pile], piles[pile] = j, number
    chain: list[tuple[int, int]] = []
    number = piles[-1] if piles else -1
    while number >= 0:
        chain.append(pairs[number])
        number = behind[number]
    return chain[::-1]


def _fewest_errors(said: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of the alignment with the fewest errors (Levenshtein), the last first."""
    rows = np.stack(list(edit_rows(said, heard)))
    i, j = len(said), len(heard)
    while i and j:
        is_other = said[i - 1] != heard[j - 1]
        if rows[i, j] == rows[i - 1, j - 1] + is_other:
            i, j = i - 1, j - 1
            yield i, j
        elif rows[i, j] == rows[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1


def _sentences(cue: Cue) -> Iterator[Cue]:
    for text in _SENTENCE_END.split(cue.text):
        if text.strip():
            yield replace(cue, text=text.strip())


def _tokens(text: str, cue: int) -> list[_Token]:
    """The words of a sentence; one of signs alone, such as a dash, goes with its neighbour."""
    tokens: list[_Token] = []
    for written in text.split():
        parts = _parts(written)
        if tokens and (not parts or not tokens[-1].parts):
            before = tokens.pop()
            tokens.append(_Token(f"{before.text} {written}", cue, before.parts + parts))
        else:
            tokens.append(_Token(written, cue, parts))
    return [token for token in tokens if token.parts]


def _parts(text: str) -> tuple[str, ...]:
    """What is compared: words without their punctuation, or single signs of scripts without blanks."""
    return tuple(_PART.findall(unicodedata.normalize("NFKC", text).casefold().replace("’", "'")))


def _with_times(tokens: Sequence[_Token], times: dict[int, list[Word]], seconds: float) -> dict[int, Word]:
    """Each token that was said as a word with times, in order."""
    words: dict[int, Word] = {}
    for is_known, group in groupby(range(len(tokens)), key=times.__contains__):
        run = list(group)
        if is_known:
            for n in run:
                known = times[n]
                is_sure = tuple(part for word in known for part in _parts(word.text)) == tokens[n].parts
                sure = mean_confidence(known) if is_sure else None
                words[n] = Word(tokens[n].text, known[0].start, known[-1].end, sure)
            continue
        before = max((word.end for word in times[run[0] - 1]), default=0.0) if run[0] else 0.0
        after = times[run[-1] + 1][0].start if run[-1] + 1 < len(tokens) else seconds
        room = max(after - before, 0.0)
        if room < FASTEST * len(run) and len(run) > FEW:
            continue
        each = min(room / len(run), SLOWEST)
        # A run that begins a sentence is said right before what follows, any other right after what precedes.
        begins = run[0] == 0 or tokens[run[0] - 1].cue != tokens[run[0]].cue
        start = after - each * len(run) if begins and run[-1] + 1 < len(tokens) else before
        for place, n in enumerate(run):
            words[n] = Word(tokens[n].text, start + place * each, start + (place + 1) * each)
    return words


def _cue(sentence: Cue, words: Sequence[Word]) -> Cue:
    """A sentence with the words of it that were said."""
    start, end = words[0].start, max(words[0].start + FASTEST, *(word.end for word in words))
    placed = tuple(
        replace(word, start=round(word.start, 3), end=round(max(word.end, word.start), 3)) for word in words
    )
    return replace(
        sentence,
        start=round(start, 3),
        end=round(end, 3),
        text=" ".join(word.text for word in words),
        words=placed,
        confidence=mean_confidence(placed),
    )


def _doubts(
    tokens: Sequence[_Token], times: dict[int, list[Word]], words: dict[int, Word], sentences: Sequence[Cue]
) -> Iterator[Problem]:
    """One problem for each sort: where at first, and how many words of how many."""
    guessed = [n for n in words if n not in times]
    missing = [n for n in range(len(tokens)) if n not in words]
    for what, which in ((GUESSED, guessed), (NOT_SAID, missing)):
        if which:
            place = sentences[tokens[which[0]].cue].place
            yield Problem(place, what, f"{len(which)} of {len(tokens)}, the first '{tokens[which[0]].text}'")
