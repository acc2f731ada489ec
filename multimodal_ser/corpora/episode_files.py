"""What lies beside the sound of an episode: transcripts, speaker turns and the true timeline, as text.

Formats: SubRip (.srt, the speaker as "Name: "), WebVTT (.vtt, voice tags), the transcript JSON of the
podcast namespace (.json), NIST Rich Transcription turns (.rttm) and a table (.csv). Times are seconds.
"""

import csv
import html
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from multimodal_ser.text_files import caption_time

CUE_WIDTH = 42  # characters in a line of subtitles
TURN_GAP = 1.0  # seconds


@dataclass(frozen=True)
class Event:
    """A stretch of an episode; a sentence if `kind` is speech."""

    start: float
    end: float
    kind: str  # speech, jingle or silence
    speaker: str | None = None
    text: str | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None


COLUMNS = ("start", "end", "speaker", "text", "arousal", "valence", "dominance", "kind")


def srt(events: Sequence[Event], name: str) -> str:
    cues = []
    for number, event in enumerate(_speech(events), start=1):
        lines = textwrap.fill(f"{event.speaker}: {event.text}", CUE_WIDTH)
        cues.append(
            f"{number}\n{caption_time(event.start, ',')} --> {caption_time(event.end, ',')}\n{lines}\n"
        )
    return "\n".join(cues)


def vtt(events: Sequence[Event], name: str) -> str:
    cues = ["WEBVTT\n"]
    for event in _speech(events):
        lines = html.escape(textwrap.fill(event.text or "", CUE_WIDTH), quote=False)
        times = f"{caption_time(event.start, '.')} --> {caption_time(event.end, '.')}"
        cues.append(f"{times}\n<v {event.speaker}>{lines}</v>\n")
    return "\n".join(cues)


def podcast_json(events: Sequence[Event], name: str) -> str:
    segments = [
        {"speaker": event.speaker, "startTime": event.start, "endTime": event.end, "body": event.text}
        for event in _speech(events)
    ]
    return json.dumps({"version": "1.0.0", "segments": segments}, indent=2, ensure_ascii=False) + "\n"


def rttm(events: Sequence[Event], name: str) -> str:
    """Turns: sentences of one speaker are one turn until somebody else starts or TURN_GAP passes."""
    recording = "_".join(name.split())  # blanks separate fields
    return "".join(
        f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, end, speaker in _turns(_speech(events))
    )


def timeline(events: Sequence[Event], name: str) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for event in events:
        writer.writerow(["" if (value := getattr(event, name)) is None else value for name in COLUMNS])
    return table.getvalue()


# Suffix: how to fill the file from the events in order of start and the name of the episode.
WRITERS: dict[str, Callable[[Sequence[Event], str], str]] = {
    "srt": srt,
    "vtt": vtt,
    "json": podcast_json,
    "rttm": rttm,
    "csv": timeline,
}


def _speech(events: Sequence[Event]) -> Iterator[Event]:
    return (event for event in events if event.kind == "speech")


def _turns(sentences: Iterator[Event]) -> Iterator[tuple[float, float, str | None]]:
    turn: tuple[float, float, str | None] | None = None
    for event in sentences:
        if turn is not None and turn[2] == event.speaker and event.start - turn[1] <= TURN_GAP:
            turn = (turn[0], event.end, event.speaker)
            continue
        if turn is not None:
            yield turn
        turn = (event.start, event.end, event.speaker)
    if turn is not None:
        yield turn
