"""What is scored: sentences or turns of a few seconds, from cues, speakers and pauses.

A model of emotion was trained on sentences, so an episode is cut into such. With a transcript its cues are
put together within a speaker until a sentence ends, long ones are cut where the speaker pauses, and tiny
ones join their neighbour. Without words, stretches of speech take the place of cues. Or windows of one
length, where a regular grid is wanted.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Word, mean_confidence, words_of
from multimodal_ser.transcripts.nist import Turn
from multimodal_ser.transcripts.speech import Span

SHORTEST_SOUND = 0.1  # seconds; less is no sound to judge, and no encoder takes much less
_SENTENCE_END = re.compile(r"[.!?…。！？]['\")\]»”’]*$")
_CLAUSE_END = re.compile(r"[,;:—–]['\")\]»”’]*$")
_SENTENCE_WORTH, _CLAUSE_WORTH = 0.6, 0.2  # seconds of pause that the end of a sentence or clause is worth
_OFF_CENTRE = 0.8  # seconds of pause that a cut right at the edge has to be worth more than one in the middle


@dataclass(frozen=True)
class SegmentPolicy:
    """How an episode is cut; seconds."""

    shortest: float = 2.0  # a shorter piece joins a neighbour of the same speaker if one is near
    longest: float = 15.0
    pause: float = 0.8  # a longer one ends a segment
    reach: float = 1.5  # how far away a tiny piece may look for a neighbour
    window: float | None = None  # length of windows on a grid instead
    hop: float | None = None  # from one window to the next; None = the window's length

    def __post_init__(self) -> None:
        if not 0 < self.shortest < self.longest or self.pause < 0 or self.reach < self.pause:
            raise InputError(
                f"segments from {self.shortest} to {self.longest} s with pauses of {self.pause} s and a "
                f"reach of {self.reach} s: wanted are 0 < shortest < longest and 0 <= pause <= reach"
            )
        if self.window is None and self.hop is not None:
            raise InputError(f"--hop {self.hop:g} needs --window, the length of the windows")
        if self.window is not None and not (
            self.window >= 0.5 and 0 < (self.hop or self.window) <= self.window
        ):
            raise InputError(
                f"--window {self.window:g} --hop {self.hop or self.window:g}: windows last 0.5 s or more, "
                "and a hop is above 0 and at most a window, so that nothing is left out"
            )

    def described(self) -> dict[str, Any]:
        """The policy and its numbers for results."""
        kind = "windows" if self.window is not None else "sentences"
        return {"kind": kind, **asdict(self), "hop": self.hop or self.window}


def segments_of(
    cues: Sequence[Cue], speech: Sequence[Cue], seconds: float, policy: SegmentPolicy | None = None
) -> list[Cue]:
    """The segments of a recording in order of start, as cues; `speech` stands in where there are no words."""
    policy = policy or SegmentPolicy()
    atoms = [piece for cue in sorted(cues, key=_order) if cue.text for piece in _cut(cue, policy.longest)]
    if policy.window is not None:
        return _windows(atoms, seconds, policy.window, policy.hop or policy.window)
    if not atoms:
        atoms = [part for cue in speech for part in _shorter(cue, policy.longest)]
    joined = _joined(atoms, policy)
    clipped = [replace(cue, start=max(0.0, cue.start), end=min(seconds, cue.end)) for cue in joined]
    return sorted((cue for cue in clipped if cue.end - cue.start >= SHORTEST_SOUND), key=_order)


def speech_cues(spans: Sequence[Span], turns: Sequence[Turn] = ()) -> list[Cue]:
    """Stretches of speech as cues without words, each cut where the speaker changes."""
    cues = []
    for span in spans:
        inside = [(max(t.start, span.start), min(t.end, span.end), t.speaker) for t in turns]
        named = [Cue(start, end, "", who) for start, end, who in inside if end - start >= SHORTEST_SOUND]
        cues += named or [Cue(span.start, span.end, "")]
    return sorted(cues, key=_order)


def _order(cue: Cue) -> tuple[float, float]:
    return cue.start, cue.end


def _shorter(cue: Cue, longest: float) -> list[Cue]:
    """A cue without words in equal parts of at most `longest`."""
    count = max(1, ceil((cue.end - cue.start) / longest))
    step = (cue.end - cue.start) / count
    return [replace(cue, start=cue.start + n * step, end=cue.start + (n + 1) * step) for n in range(count)]


def _joined(atoms: Sequence[Cue], policy: SegmentPolicy) -> list[Cue]:
    """Cues put together within a speaker: until a sentence ends, then the tiny ones to a neighbour."""
    done: list[Cue] = []
    open_by_speaker: dict[str | None, Cue] = {}
    for atom in atoms:
        before = open_by_speaker.pop(atom.speaker, None)
        for speaker, other in list(open_by_speaker.items()):  # an answer ends what was being said
            if atom.start >= other.end:
                done.append(open_by_speaker.pop(speaker))
        if (
            before is not None
            and _may_join(before, atom, policy.pause, policy)
            and not _is_whole(before, policy)
        ):
            atom = _together(before, atom)
        elif before is not None:
            done.append(before)
        open_by_speaker[atom.speaker] = atom
    done += open_by_speaker.values()
    return _without_tiny(sorted(done, key=_order), policy)


def _is_whole(cue: Cue, policy: SegmentPolicy) -> bool:
    is_sentence = not cue.text or _SENTENCE_END.search(cue.text) is not None
    return is_sentence and cue.end - cue.start >= policy.shortest


def _without_tiny(cues: list[Cue], policy: SegmentPolicy) -> list[Cue]:
    kept: list[Cue] = []
    last: dict[str | None, int] = {}  # where the latest segment of a speaker is in `kept`
    for cue in cues:
        index = last.get(cue.speaker)
        before = kept[index] if index is not None else None
        is_tiny = before is not None and policy.shortest > min(cue.end - cue.start, before.end - before.start)
        if (
            is_tiny
            and _may_join(before, cue, policy.reach, policy)
            and not _between(kept[index + 1 :], before, cue)
        ):
            kept[index] = _together(before, cue)
        else:
            last[cue.speaker] = len(kept)
            kept.append(cue)
    return kept


def _between(others: Sequence[Cue], before: Cue, after: Cue) -> bool:
    """Whether somebody else speaks from the end of one to the start of the other."""
    return any(other.start >= before.end - SHORTEST_SOUND and other.end <= after.start for other in others)


def _may_join(before: Cue, after: Cue, pause: float, policy: SegmentPolicy) -> bool:
    return after.start - before.end <= pause and max(after.end, before.end) - before.start <= policy.longest


def _together(first: Cue, second: Cue) -> Cue:
    """Two cues as one; what the recogniser said of itself is a mean over time."""
    weights = (first.end - first.start, second.end - second.start)

    def mean(name: str) -> float | None:
        pair = [(getattr(cue, name), w) for cue, w in zip((first, second), weights, strict=True)]
        known = [(value, max(w, 1e-3)) for value, w in pair if value is not None]
        return sum(v * w for v, w in known) / sum(w for _, w in known) if known else None

    words = first.words + second.words
    return replace(
        first,
        end=max(first.end, second.end),
        text=" ".join(filter(None, (first.text, second.text))),
        words=words,
        confidence=mean("confidence") if not words else mean_confidence(words),
        avg_logprob=mean("avg_logprob"),
        no_speech_prob=mean("no_speech_prob"),
        compression_ratio=max(
            filter(None, (first.compression_ratio, second.compression_ratio)), default=None
        ),
    )


def _cut(cue: Cue, longest: float) -> list[Cue]:
    """A cue in pieces of at most `longest`, cut at its best pauses."""
    if cue.end - cue.start <= longest:
        return [cue]
    words = words_of(cue)
    if len(words) < 2:  # one word for that long: its end is wrong
        return [replace(cue, end=cue.start + longest)]
    place = max(range(1, len(words)), key=lambda n: _worth(words, n, cue))
    halves = ((words[:place], cue.start, words[place - 1].end), (words[place:], words[place].start, cue.end))
    has_times = bool(cue.words)
    pieces = []
    for said, start, end in halves:
        text = " ".join(word.text for word in said)
        pieces += _cut(
            replace(cue, start=start, end=end, text=text, words=tuple(said) if has_times else ()), longest
        )
    return pieces


def _worth(words: Sequence[Word], place: int, cue: Cue) -> float:
    """How good a cut before word `place` is, in seconds of pause."""
    before, after = words[place - 1], words[place]
    middle = (cue.start + cue.end) / 2
    off = abs((before.end + after.start) / 2 - middle) / (cue.end - cue.start) * 2
    worth = after.start - before.end - _OFF_CENTRE * off
    if _SENTENCE_END.search(before.text):
        worth += _SENTENCE_WORTH
    elif _CLAUSE_END.search(before.text):
        worth += _CLAUSE_WORTH
    return worth


def _windows(atoms: Sequence[Cue], seconds: float, window: float, hop: float) -> list[Cue]:
    """A grid over the whole recording; a word belongs to the windows that hold its middle."""
    words = [((word.start + word.end) / 2, word.text, cue) for cue in atoms for word in words_of(cue)]
    words.sort(key=lambda word: word[0])
    middles = [word[0] for word in words]
    found = []
    for number in range(max(1, ceil(seconds / hop))):
        start, end = number * hop, min(number * hop + window, seconds)
        if number and end - start < min(hop, window) / 2:  # hardly anything that the one before has not
            continue
        inside = words[bisect_left(middles, start) : bisect_left(middles, end)]
        found.append(window_of(round(start, 3), round(end, 3), [(text, cue) for _, text, cue in inside]))
    return [cue for cue in found if cue.end - cue.start >= SHORTEST_SOUND]


def window_of(start: float, end: float, inside: Sequence[tuple[str, Cue]]) -> Cue:
    """A stretch of time as a cue with the words in it, each given with the cue that it is from."""
    counts: dict[str | None, int] = {}
    for _, cue in inside:
        counts[cue.speaker] = counts.get(cue.speaker, 0) + 1
    speaker = max(counts, key=counts.__getitem__) if counts else None
    cues = list({id(cue): cue for _, cue in inside}.values())
    merged = Cue(start, end, "") if not cues else cues[0]
    for cue in cues[1:]:
        merged = _together(merged, cue)
    text = " ".join(word for word, _ in inside)
    return replace(merged, start=start, end=end, text=text, speaker=speaker, words=())
