"""How a preparation is shown: one screen of text, and the tables of dropped and flagged items."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.reading import Remark
from multimodal_ser.corpora.summaries import TOTAL
from multimodal_ser.csv_files import write_table
from multimodal_ser.labels import DIMENSIONS

NOTES_SHOWN = 8
SPEAKERS_SHOWN = 5
EMOTIONS_SHOWN = 12


def write_remarks(path: str | os.PathLike, remarks: Sequence[Remark]) -> None:
    """Write remarks as CSV."""
    rows = ((remark.id, remark.split or "", remark.reason, remark.detail) for remark in remarks)
    write_table(path, ("id", "split", "reason", "detail"), rows)


def screen(report: dict[str, Any], output: Path) -> str:
    """The report of a preparation on one screen."""
    lines = [_title(report), "", *table(report, report["counts"]), ""]
    lines += _labels_line(report)
    lines += _remarks_lines(report, output)
    lines += [_audio_line(report), _text_line(report), *speaker_lines(report)]
    lines += [f"note: {note}" for note in report["notes"][:NOTES_SHOWN]]
    lines += [f"FAILED: {failure}" for failure in report["failures"]]
    lines.append(f"written: {output / 'manifest.jsonl'} ({report[TOTAL]['utterances']:,} utterances)")
    return "\n".join(line for line in lines if line is not None)


def table(summary: dict[str, Any], counts: dict[str, dict[str, int | None]] | None = None) -> list[str]:
    """One line per split: utterances, hours, speakers, label means; with `counts`, the published ones too."""
    rows = [("", "kept", "dropped", "published", "hours", "speakers", *DIMENSIONS)]
    parts = {**summary["splits"], TOTAL: summary[TOTAL]}
    for name in [*parts, *(name for name in counts or {} if name not in parts)]:
        part, count = parts.get(name), (counts or {}).get(name)
        rows.append((name, *_count_cells(part, count), *_part_cells(part)))
    if counts is None:
        rows = [(row[0], row[1], *row[4:]) for row in rows]
        rows[0] = ("", "utterances", *rows[0][2:])
    last = next(row for row in rows if row[0] == TOTAL)
    rows = [row for row in rows if row is not last] + [last]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [_aligned(row, widths) for row in rows]


def speaker_lines(summary: dict[str, Any]) -> list[str]:
    """How many speakers there are, and which splits share some."""
    total = summary[TOTAL]
    unknown = total["without_speaker"]
    hours = list(summary["hours_per_speaker"].values())
    each = f", {60 * hours[-1]:.1f} to {60 * hours[0]:.1f} minutes each" if hours and hours[0] else ""
    lines = [f"speakers: {total['speakers']:,}{each}"]
    lines[0] += f"; {unknown:,} utterances without one" if unknown else ""
    for pair, shared in summary["speakers_in_several_splits"].items():
        names = ", ".join(shared["speakers"][:SPEAKERS_SHOWN])
        more = " ..." if shared["count"] > SPEAKERS_SHOWN else ""
        lines.append(f"speakers in two splits: {pair} share {shared['count']:,} ({names}{more})")
    return lines


def counts_line(what: str, counts: dict[str, int], shown: int) -> str:
    """ "what: a 3, b 2", the most frequent first."""
    items = [f"{name} {count:,}" for name, count in list(counts.items())[:shown]]
    return f"{what}: " + ", ".join(items) + (" ..." if len(counts) > shown else "")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *cells = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([name, *cells]).rstrip()


def _title(report: dict[str, Any]) -> str:
    version = f" {report['version']}" if report["version"] else ""
    licence = f" ({report['licence']})" if report["licence"] else ""
    return f"{report['corpus']}{version}{licence}"


def _count_cells(part: dict[str, Any] | None, count: dict[str, int | None] | None) -> tuple[str, str, str]:
    if count is None:
        return (f"{part['utterances']:,}" if part else "0", "", "")
    published = "" if count["published"] is None else f"{count['published']:,}"
    kept = part["utterances"] if part else count["kept"]
    return (f"{kept:,}", f"{count['dropped']:,}", published)


def _part_cells(part: dict[str, Any] | None) -> tuple[str, ...]:
    if part is None:
        return ("", "", *("" for _ in DIMENSIONS))
    hours = "?" if part["hours"] is None else f"{part['hours']:.2f}"
    labels = (part["labels"][name] for name in DIMENSIONS)
    return (
        hours,
        f"{part['speakers']:,}",
        *("-" if not found["n"] else f"{found['mean']:.3f} ±{found['spread']:.3f}" for found in labels),
    )


def _labels_line(report: dict[str, Any]) -> list[str]:
    lines = []
    if on_scale := report["labels_on_rating_scale"]:
        values = ", ".join(f"{name} {v['mean']:.2f} ±{v['spread']:.2f}" for name, v in on_scale.items())
        lines.append(f"labels on the corpus' own scale {report['rating_scale']}: {values}")
    if emotions := report[TOTAL]["emotions"]:
        lines.append(counts_line("emotions", emotions, EMOTIONS_SHOWN))
    if sources := report[TOTAL]["label_sources"]:
        lines.append(counts_line("labels are", sources, EMOTIONS_SHOWN))
    return lines


def _remarks_lines(report: dict[str, Any], output: Path) -> list[str]:
    lines = []
    for what in ("dropped", "flagged"):
        counts = report[what]
        if not counts:
            lines.append(f"{what}: none")
            continue
        lines.append(f"{what}: {sum(counts.values()):,}, listed in {output / f'{what}.csv'}")
        lines += [f"  {count:>7,}  {reason}" for reason, count in counts.items()]
    return lines


def _audio_line(report: dict[str, Any]) -> str:
    audio = report["audio"]
    if not audio["files"]:
        return "audio: none, text only"
    how = "decoded to the end" if report["audio_verified"] else "headers read; --verify-audio decodes all"
    same = "" if report["same_audio_looked_for"] else "; equal files not looked for (--verify-audio does)"
    formats = counts_line("; formats", audio["formats"], 4) if audio["formats"] else ""
    return f"audio: {audio['files']:,} files, {how}{formats}{same}"


def _text_line(report: dict[str, Any]) -> str:
    text = report[TOTAL]["text"]
    return (
        f"text: {text['with_words']:,} with words, {text['empty']:,} empty, "
        f"{text['missing']:,} without transcript"
    )
