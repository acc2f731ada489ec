"""Make the times of a transcript usable and say what was done: each repair is a `Problem` with its place.

After `repaired`, cues with times are in order of start; each has words, 0 <= start < end, and an end within
the audio if its length is known; cues overlap only where speakers do or where a cut would leave too little
time for its words; and words that have times have them within their cue. All times are seconds.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from statistics import median

from multimodal_ser.transcripts.cues import LONGEST, Cue, Problem, Transcript, Word, has_words

SPEAKING_RATE = 2.5  # words per second, to guess how long a cue lasts whose end is unusable
SHORTEST_GUESS = 0.5  # seconds
ROUNDING = 0.05  # seconds by which rounded times differ; overlaps of less are mended without a word
MOST_AT_ONCE = 16  # cues that are looked at for an overlap; real transcripts have a few
FASTEST_SPEECH = 7.0  # words per second that a cue may reach when it is cut
END_TOLERANCE = 1.0  # seconds by which lengths of a compressed file differ between programs
DAY = 86_400.0  # seconds; times beyond it are rather milliseconds
# Words per second of cues: speech has 1 to 5, cues with pauses less, chapters of an episode about 0.01. Times
# in milliseconds taken for seconds give a thousandth, and the other way round.
SLOWEST, FASTEST = 0.02, 200.0
PLAUSIBLE = (0.3, 30.0)
FEWEST_WORDS = 5
COVERED = 0.5  # of the audio; a transcript that ends before is dubious

NO_WORDS = "no words, left out"
MILLISECONDS = "times are milliseconds, divided by 1000"
THOUSANDTHS = "times are a thousandth of what they should be, multiplied by 1000"
NO_START = "no usable start time, left out"
NEGATIVE = "begins before the audio, set to 0"
ENDS_EARLY = "ends before the audio begins, left out"
NO_END = "no usable end time, guessed from the next cue and the number of words"
BACKWARDS = "does not end after it begins, end guessed from the next cue and the number of words"
NOT_IN_ORDER = "begins before the cue above it, sorted"
TWICE = "same times and words as another cue, left out"
BEYOND = "begins after the end of the audio, left out"
CUT_AT_END = "ends after the end of the audio, cut there"
OVERLAP = "overlaps a later cue, end moved to its start"
CROSSTALK = "two speakers at once, kept"
TOO_FULL = "overlaps a later cue and has too many words to be cut, kept"
UNCOVERED = "the transcript ends long before the audio; it may be of another recording or cut off"


def repaired(transcript: Transcript, media_seconds: float | None = None) -> Transcript:
    """The transcript with usable times; `media_seconds` is the length of the audio if it is known."""
    problems = list(transcript.problems)
    cues = list(_with_words(transcript.cues, problems))
    if transcript.timed:
        cues = _in_seconds(cues, media_seconds, problems)
        cues = list(_with_start(cues, problems))
        cues = _in_order(cues, problems)
        cues = list(_with_end(cues, problems))
        cues = list(_once(cues, problems))
        if media_seconds is not None:
            cues = list(_within_audio(cues, media_seconds, problems))
        cues = [_with_words_inside(cue) for cue in _not_overlapping(cues, problems)]
    return replace(transcript, cues=tuple(cues), problems=tuple(problems))


def _with_words(cues: Iterable[Cue], problems: list[Problem]) -> Iterable[Cue]:
    for cue in cues:
        if has_words(cue.text):
            yield cue
        else:
            problems.append(Problem(cue.place, NO_WORDS, cue.text[:60]))


def _in_seconds(cues: list[Cue], media_seconds: float | None, problems: list[Problem]) -> list[Cue]:
    """All times divided or multiplied by 1000 if that makes speech of what could not be any."""
    known = [cue for cue in cues if cue.start is not None and cue.end is not None and cue.end > cue.start]
    words = sum(_number_of_words(cue.text) for cue in known)
    if words < FEWEST_WORDS:
        return cues
    rate = words / sum(cue.end - cue.start for cue in known)
    last = max(cue.end for cue in known)
    limit = math.inf if media_seconds is None else media_seconds * 1.05 + END_TOLERANCE
    low, high = PLAUSIBLE
    too_late = last > DAY if media_seconds is None else median(cue.start for cue in known) > media_seconds
    if rate < SLOWEST and low < 1000 * rate < high and too_late and last / 1000 <= limit:
        problems.append(Problem("", MILLISECONDS, f"the last was {last:g}"))
        return [_scaled(cue, 0.001) for cue in cues]
    if rate > FASTEST and low < rate / 1000 < high and last * 1000 <= limit:
        problems.append(Problem("", THOUSANDTHS, f"the last was {last:g}"))
        return [_scaled(cue, 1000.0) for cue in cues]
    return cues


def _with_start(cues: Iterable[Cue], problems: list[Problem]) -> Iterable[Cue]:
    """Cues with a start from 0 on; an end that is no time is None."""
    for cue in cues:
        start, end = _time(cue.start), _time(cue.end)
        if start is None:
            problems.append(Problem(cue.place, NO_START, cue.text[:60]))
        elif start < 0 and end is not None and end <= 0:
            problems.append(Problem(cue.place, ENDS_EARLY, f"{start:g} to {end:g}"))
        elif start < 0:
            problems.append(Problem(cue.place, NEGATIVE, f"{start:g}"))
            yield replace(cue, start=0.0, end=end)
        else:
            yield replace(cue, start=start, end=end)


def _in_order(cues: list[Cue], problems: list[Problem]) -> list[Cue]:
    problems += [
        Problem(cue.place, NOT_IN_ORDER, f"{cue.start:g} after {above.start:g}")
        for above, cue in pairwise(cues)
        if cue.start < above.start
    ]
    return sorted(cues, key=lambda cue: cue.start)


def _with_end(cues: list[Cue], problems: list[Problem]) -> Iterable[Cue]:
    following = math.inf
    ended = []
    for cue in reversed(cues):  # from the back, since the next start is wanted
        if cue.end is None or cue.end <= cue.start:
            lasts = max(SHORTEST_GUESS, _number_of_words(cue.text) / SPEAKING_RATE)
            guess = round(cue.start + lasts, 6)
            end = min(guess, following) if following > cue.start + ROUNDING else guess
            reason, shown = (NO_END, "") if cue.end is None else (BACKWARDS, f"{cue.start:g} to {cue.end:g}")
            problems.append(Problem(cue.place, reason, shown))
            ended.append(replace(cue, end=end))
        else:
            ended.append(cue)
        following = cue.start
    return reversed(ended)


def _once(cues: Iterable[Cue], problems: list[Problem]) -> Iterable[Cue]:
    seen = set()
    for cue in cues:
        key = (cue.start, cue.end, cue.speaker, cue.text)
        if key in seen:
            problems.append(Problem(cue.place, TWICE, cue.text[:60]))
        else:
            seen.add(key)
            yield cue


def _within_audio(cues: list[Cue], media_seconds: float, problems: list[Problem]) -> Iterable[Cue]:
    for cue in cues:
        if cue.start >= media_seconds:
            problems.append(Problem(cue.place, BEYOND, f"{cue.start:g} of {media_seconds:g} seconds"))
        elif cue.end > media_seconds:
            if cue.end > media_seconds + END_TOLERANCE:
                problems.append(Problem(cue.place, CUT_AT_END, f"{cue.end:g} of {media_seconds:g} seconds"))
            yield replace(cue, end=float(media_seconds))
        else:
            yield cue
    last = max((cue.end for cue in cues), default=media_seconds)
    if last < COVERED * media_seconds:
        problems.append(Problem("", UNCOVERED, f"{last:g} of {media_seconds:g} seconds"))


def _not_overlapping(cues: list[Cue], problems: list[Problem]) -> list[Cue]:
    """Cut cues where another of the same or an unknown speaker begins; report what is kept."""
    kept: list[Cue] = []
    reaching: list[int] = []  # positions of the cues that may reach beyond the start of this one
    for cue in cues:
        reaching = [number for number in reaching if kept[number].end > cue.start][-MOST_AT_ONCE:]
        found = {}  # one of each sort for a cue
        for number in reaching:
            before = kept[number]
            overlap, remains = before.end - cue.start, cue.start - before.start
            seconds = f"{overlap:.3f} seconds"
            if before.speaker != cue.speaker and None not in (before.speaker, cue.speaker):
                found.setdefault(CROSSTALK, Problem(cue.place, CROSSTALK, seconds))
            elif remains * FASTEST_SPEECH >= _number_of_words(before.text) or overlap <= ROUNDING < remains:
                if overlap > ROUNDING:
                    found.setdefault(OVERLAP, Problem(before.place, OVERLAP, seconds))
                kept[number] = replace(before, end=cue.start)
            else:
                found.setdefault(TOO_FULL, Problem(before.place, TOO_FULL, seconds))
        problems += found.values()
        reaching.append(len(kept))
        kept.append(cue)
    return kept


def _with_words_inside(cue: Cue) -> Cue:
    """Times of words cut to their cue's; words that lie outside lose their times."""
    if all(word.start is None or cue.start <= word.start <= word.end <= cue.end for word in cue.words):
        return cue
    return replace(cue, words=tuple(_inside(word, cue.start, cue.end) for word in cue.words))


def _inside(word: Word, start: float, end: float) -> Word:
    if word.start is None:
        return word
    first, last = max(word.start, start), min(word.end, end)
    return replace(word, start=first, end=last) if first < last else replace(word, start=None, end=None)


def _time(value: float | None) -> float | None:
    return value if value is not None and abs(value) <= LONGEST else None  # NaN is not within, either


def _scaled(cue: Cue, factor: float) -> Cue:
    def scaled(value: float | None) -> float | None:
        return None if value is None else round(value * factor, 6)

    words = tuple(replace(w, start=scaled(w.start), end=scaled(w.end)) for w in cue.words)
    return replace(cue, start=scaled(cue.start), end=scaled(cue.end), words=words)


def _number_of_words(text: str) -> float:
    """Words between blanks; for scripts without blanks about as many as there would be."""
    return max(len(text.split()), len(text) / 12)
