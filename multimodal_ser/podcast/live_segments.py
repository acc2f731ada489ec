"""Segments of sound that goes on: `LiveSegmenter`.

Segments follow the policy of recordings without a transcript, with one difference that a limit of two seconds
asks for: a tiny piece may join what follows, not what went before, since that has been told already. A piece
of speech that does not end is cut in a dip of its last second and a half.

A model reads a segment when it has ended, all of it at once: its statistics over time allow no earlier start.
So before it listens it is timed, and where a segment of the policy's length would be told too late, segments
are cut earlier (`Limits`), and that is said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from multimodal_ser.podcast.segments import SegmentPolicy
from multimodal_ser.transcripts.speech import Span, SpanTracker, SpeechOptions

LATEST = 2.0  # seconds from the end of a segment to its line
CUT_SECONDS = (0.5, 1.5)  # least and most before the longest segment's end, in which it is cut
PAUSE_SECONDS = 0.4  # until a pause is one, with the block and the frames that tell so
BLOCKS_SECONDS = 0.2  # the same behind a cut
SPARE = 0.85  # share of the remaining time that is planned for: other work may come up
LEAST_LONGEST = 3.0  # cut any shorter, segments say little
_KEPT_SPANS = 64


@dataclass(frozen=True)
class Limits:
    """How long a segment may be, and how much of its end is searched for a dip to cut in; seconds."""

    longest: float
    cut: float = CUT_SECONDS[1]

    @classmethod
    def of(cls, longest: float, cost: float) -> "Limits":
        """So that lines come in time; cost: seconds that the model needs for a second of sound."""
        cost = max(cost / SPARE, 1e-6)
        cut = min(max(LATEST - BLOCKS_SECONDS - cost * longest, CUT_SECONDS[0]), CUT_SECONDS[1])
        possible = (LATEST - max(PAUSE_SECONDS, BLOCKS_SECONDS + cut)) / cost
        return cls(round(min(longest, max(possible, LEAST_LONGEST)), 1), cut)


class LiveSegmenter:
    """Segments from scores of frames, each as soon as it is known where it ends."""

    def __init__(self, policy: SegmentPolicy, speech: SpeechOptions, cut: float = CUT_SECONDS[1]) -> None:
        self.policy = policy
        self.spoken: list[Span] = []  # the latest spans
        self._speech = replace(speech, longest=policy.longest)
        self._tracker = SpanTracker(self._speech, cut / policy.longest)
        self._held: Span | None = None  # too short alone

    @property
    def wanted_from(self) -> float:
        """Seconds before which no segment will begin."""
        return self._tracker.earliest if self._held is None else self._held.start

    def push(self, scores: Iterable[float]) -> list[Span]:
        found: list[Span] = []
        for score in scores:
            for span in self._tracker.push([score]):
                found += self._after(span)
            found += self._given_up()
        return found

    def finish(self, seconds: float) -> list[Span]:
        found = [segment for span in self._tracker.finish(seconds) for segment in self._after(span)]
        held, self._held = self._held, None
        return found if held is None else [*found, Span(held.start, min(held.end, seconds))]

    def _after(self, span: Span) -> list[Span]:
        """The segments that are done when `span` has ended."""
        self.spoken = [*self.spoken[-_KEPT_SPANS:], span]
        found = []
        if self._held is not None:
            if self._may_join(span.start) and span.end - self._held.start <= self.policy.longest:
                span = Span(self._held.start, span.end)
            else:
                found.append(self._held)
        self._held = span if span.end - span.start < self.policy.shortest else None
        return found if self._held is not None else [*found, span]

    def _given_up(self) -> list[Span]:
        """What is held, if nothing follows soon; else what follows must leave room for it."""
        tracker, held = self._tracker, self._held
        tracker.options = self._speech
        if held is None:
            return []
        if tracker.opened is not None and self._may_join(tracker.opened):
            room = self.policy.longest - (tracker.opened - held.start)
            tracker.options = replace(self._speech, longest=room)
            return []
        if tracker.now - held.end <= self.policy.reach and tracker.opened is None:
            return []
        self._held = None
        return [held]

    def _may_join(self, start: float) -> bool:
        return start - self._held.end <= self.policy.reach
