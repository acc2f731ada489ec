"""The files of a scored episode: a new format is a function here and a line in `WRITERS`.

Every file says its scale, the version of its schema, the hash of the model and where the words came from.
Text of transcripts is not ours: it is escaped for what reads the file.
"""

import html
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from multimodal_ser import csv_files
from multimodal_ser.cache import atomic_path, write_text
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.podcast import timeline as timelines
from multimodal_ser.podcast.pages import PAGE_SUFFIX, write_page
from multimodal_ser.podcast.summaries import FACTS, REGIONS
from multimodal_ser.podcast.timeline import SCHEMA_VERSION, Scored, Timeline
from multimodal_ser.text_files import caption_time

_STATED = ("scale", "schema_version", "model", "transcript_source")
SEGMENT_COLUMNS = (
    "file", "start", "end", "speaker", "text", *DIMENSIONS,
    *(f"{name}_{end}" for name in DIMENSIONS for end in ("low", "high")),
    *(f"{reading}_{name}" for reading in ("audio", "text") for name in DIMENSIONS),
    "disagreement", "text_source", "flags", *_STATED,
)  # fmt: skip
# Of them, those that hold text; the others are numbers, not all of which are known.
WORDED = {"file", "speaker", "text", "text_source", "flags", "scale", "model", "transcript_source"}
_SPEAKER_FACTS = ("segments", "speech_seconds", "read_share", "untrusted_share", "disagreement")


def rows_of(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """The rows of the segment table."""
    about = {
        "file": timeline.audio["file"],
        "scale": str(timeline.scale),
        "schema_version": SCHEMA_VERSION,
        "model": timeline.model["hash"],
        "transcript_source": timeline.transcript["source"],
    }
    draft = {"model": timeline.model["draft"]["hash"]} if "draft" in timeline.model else {}
    for segment in timeline.segments:
        row = {
            **about,
            **(draft if segment.is_draft else {}),
            "start": segment.start,
            "end": segment.end,
            "speaker": segment.speaker,
        }
        for name, values in segment.dimensions.items():
            row |= {name: values.fused, f"{name}_low": values.low, f"{name}_high": values.high}
            row |= {f"audio_{name}": values.audio, f"text_{name}": values.text}
        yield row | {
            "text": segment.text,
            "disagreement": segment.disagreement,
            "text_source": segment.text_source,
            "flags": " ".join(segment.flags),
        }


def write_csv(path: Path, timeline: Timeline) -> None:
    rows = ([row[column] for column in SEGMENT_COLUMNS] for row in rows_of(timeline))
    csv_files.write_table(path, SEGMENT_COLUMNS, rows)


def write_parquet(path: Path, timeline: Timeline) -> None:
    import pyarrow
    from pyarrow import json as arrow_json
    from pyarrow import parquet

    kinds = {name: pyarrow.string() if name in WORDED else pyarrow.float64() for name in SEGMENT_COLUMNS}
    schema = pyarrow.schema(list({**kinds, "schema_version": pyarrow.int64()}.items()))
    rows = [json.dumps({name: row[name] for name in SEGMENT_COLUMNS}) + "\n" for row in rows_of(timeline)]
    if rows:  # by way of JSON: to take Python's objects, pyarrow imports pandas, which takes half a second
        table = arrow_json.read_json(
            io.BytesIO("".join(rows).encode()),
            arrow_json.ReadOptions(block_size=sum(map(len, rows)) + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    else:
        table = schema.empty_table()
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)


def write_vtt(path: Path, timeline: Timeline) -> None:
    """WebVTT for any player: the words, and below them the values."""
    head = f"WEBVTT\n\nNOTE\n{html.escape(_stated(timeline), quote=False)}\n"
    write_text(path, "\n".join([head, *map(_cue, timeline.segments)]))


def _cue(segment: Scored) -> str:
    voice = f"<v {_escaped(segment.speaker)}>" if segment.speaker else ""
    words = _escaped(segment.text)
    times = f"{caption_time(segment.start, '.')} --> {caption_time(segment.end, '.')}"
    return f"{times}\n{voice}{words}\n{_values(segment)}\n"


def _escaped(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)


def _values(segment: Scored) -> str:
    said = [f"{name} {v.fused:.3f}" for name, v in segment.dimensions.items() if v.fused is not None]
    return "[" + ", ".join(said or ["not scored"]) + "]"


def write_textgrid(path: Path, timeline: Timeline) -> None:
    """Praat's TextGrid: words per speaker, points per dimension, and a tier about the whole."""
    tiers = [_interval_tier("multimodal_ser", [(0.0, timeline.seconds, _stated(timeline))], timeline.seconds)]
    for speaker in dict.fromkeys(segment.speaker for segment in timeline.segments):
        said = [(s.start, s.end, s.text) for s in timeline.segments if s.speaker == speaker]
        tiers.append(_interval_tier(speaker or "speaker unknown", _apart(said), timeline.seconds))
    for name in DIMENSIONS:
        tiers.append(_point_tier(name, list(_points(timeline.segments, name)), timeline.seconds))
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    write_text(path, f"{head}0\n{timeline.seconds:.6f}\n<exists>\n{len(tiers)}\n" + "".join(tiers))


def _apart(marks: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Intervals of one tier may not overlap: an earlier one ends where the next begins."""
    ends = [following[0] for following in marks[1:]] + [float("inf")]
    cut = [(start, min(end, limit), text) for (start, end, text), limit in zip(marks, ends, strict=True)]
    return [mark for mark in cut if mark[1] > mark[0]]


def _points(segments: Iterable[Scored], name: str) -> Iterator[tuple[float, str]]:
    """Values at the middles of segments; points of a tier rise in time."""
    middles = sorted((round((s.start + s.end) / 2, 6), s.dimensions[name].fused) for s in segments
                     if s.dimensions[name].fused is not None)  # fmt: skip
    latest = -1.0
    for time, value in middles:
        latest = max(time, latest + 1e-6)
        yield latest, f"{value:.4f}"


def _interval_tier(name: str, marks: Sequence[tuple[float, float, str]], seconds: float) -> str:
    """All of a tier, with empty intervals where nothing is said."""
    edges = [0.0, *(edge for start, end, _ in marks for edge in (start, end)), seconds]
    filled = []
    for index, (start, end) in enumerate(pairwise(edges)):
        if end > start:
            filled.append((start, end, marks[index // 2][2] if index % 2 else ""))
    body = "".join(f"{start:.6f}\n{end:.6f}\n{_quoted(text)}\n" for start, end, text in filled)
    return f'"IntervalTier"\n{_quoted(name)}\n0\n{seconds:.6f}\n{len(filled)}\n{body}'


def _point_tier(name: str, points: Sequence[tuple[float, str]], seconds: float) -> str:
    body = "".join(f"{time:.6f}\n{_quoted(text)}\n" for time, text in points)
    return f'"TextTier"\n{_quoted(name)}\n0\n{seconds:.6f}\n{len(points)}\n{body}'


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace('"', '""') + '"'


def _stated(timeline: Timeline) -> str:
    return (
        f"scale {timeline.scale}; schema {timelines.SCHEMA} {SCHEMA_VERSION}; "
        f"model {timeline.model['hash']}; transcript {timeline.transcript['source']}"
    )


# Format: end of the file's name, and who writes it. JSON comes last: it says that the others are there.
WRITERS: dict[str, tuple[str, Callable[[Path, Timeline], None]]] = {
    "csv": (".emotion.csv", write_csv),
    "parquet": (".emotion.parquet", write_parquet),
    "vtt": (".emotion.vtt", write_vtt),
    "textgrid": (".emotion.TextGrid", write_textgrid),
    "report": (PAGE_SUFFIX, write_page),
    "json": (timelines.SUFFIX, timelines.write),
}


_SUMMARY_COLUMNS = (
    *_SPEAKER_FACTS,
    *(f"{name}_{fact}" for name in DIMENSIONS for fact in FACTS),
    *(f"share_{region}" for region in REGIONS),
    *_STATED,
)
SPEAKER_COLUMNS = ("episode", "speaker", *_SUMMARY_COLUMNS)  # of summary_speakers.csv
EPISODE_COLUMNS = ("episode", "file", "seconds", *_SUMMARY_COLUMNS)  # of summary_episodes.csv


def speaker_rows(name: str, timeline: Timeline) -> list[list[Any]]:
    """A row for each speaker of an episode."""
    return [[name, facts["speaker"], *_facts(facts, timeline)] for facts in timeline.summary["speakers"]]


def episode_row(name: str, timeline: Timeline) -> list[Any]:
    """The row of an episode."""
    facts = _facts(timeline.summary["episode"], timeline)
    return [name, timeline.audio["file"], timeline.seconds, *facts]


def _facts(facts: dict[str, Any], timeline: Timeline) -> list[Any]:
    return [
        *(facts[name] for name in _SPEAKER_FACTS),
        *(facts["dimensions"][name][fact] for name in DIMENSIONS for fact in FACTS),
        *facts["regions"].values(),
        str(timeline.scale),
        SCHEMA_VERSION,
        timeline.model["hash"],
        timeline.transcript["source"],
    ]
