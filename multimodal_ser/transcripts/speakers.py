"""Who speaks in a cue: by the turns of a diarization (RTTM), made elsewhere."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, Word
from multimodal_ser.transcripts.nist import Turn

SECOND_SHARE = 0.25  # of what was said; with more of a second speaker a cue is dubious
NOBODY = "no speaker's turn overlaps this cue"
SEVERAL = "two speakers in one cue, the longer one is named"


class _Turns:
    """Turns that can be asked who speaks between two times, in the time of a search."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
        self.starts = [turn.start for turn in self.turns]
        # The latest end so far never falls, so turns that may reach beyond a time are found by bisection.
        self.ends = list(accumulate((turn.end for turn in self.turns), max))

    def between(self, start: float, end: float) -> list[tuple[float, str]]:
        """Seconds and names, the longest first; among equals the one who began first."""
        seconds: dict[str, float] = {}
        for turn in self.turns[bisect_right(self.ends, start) : bisect_left(self.starts, end)]:
            overlap = min(turn.end, end) - max(turn.start, start)
            if overlap > 0:
                seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + overlap
        return sorted(((time, name) for name, time in seconds.items()), key=lambda pair: -pair[0])


def attach_speakers(transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
    """The transcript with each cue, and each word with times, given to whom it overlaps most.

    Names that the transcript had are replaced, since two ways of naming do not mix; a cue that no turn
    overlaps has no speaker.
    """
    if not transcript.timed:
        raise InputError(
            f"speakers cannot be attached to a transcript without times ({transcript.source}): "
            "align it to the audio first"
        )
    index = _Turns(turns)
    problems = list(transcript.problems)
    cues = [_attached(cue, index, problems) for cue in transcript.cues]
    return replace(transcript, cues=tuple(cues), problems=tuple(problems))


def _attached(cue: Cue, turns: _Turns, problems: list[Problem]) -> Cue:
    found = turns.between(cue.start, cue.end)
    if not found:
        problems.append(Problem(cue.place, NOBODY, f"{cue.start:g} to {cue.end:g}"))
    elif len(found) > 1 and found[1][0] > SECOND_SHARE * sum(time for time, _ in found):
        problems.append(Problem(cue.place, SEVERAL, f"{found[0][1]}, {found[1][1]}"))
    speaker = found[0][1] if found else None
    words = tuple(_named(word, turns, speaker) for word in cue.words)
    return replace(cue, speaker=speaker, words=words)


def _named(word: Word, turns: _Turns, speaker_of_cue: str | None) -> Word:
    found = [] if word.start is None else turns.between(word.start, word.end)
    return replace(word, speaker=found[0][1] if found else speaker_of_cue)
