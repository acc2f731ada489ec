"""The second half of every `prepare`: what a reader found becomes a checked manifest and a report.

Written into the output folder:

- `manifest.jsonl`: what can be used;
- `dropped.csv`: every item that cannot, with the reason;
- `flagged.csv`: every item that is kept but distrusted;
- `prepare.json`: all counts and checks, for machines;
- `verified_audio.jsonl`: after --verify-audio, what was found in each file, so that a second run is quick.

The manifest names its audio root relative to itself if both lie under one folder at most two levels above
it, so that they can move together; otherwise absolutely.

A preparation fails (exit 3), after everything is written, if items failed (audio missing or unreadable, ids
twice, rows that make no sense) or if the counts are not the published ones. Items that the user asked to
leave out and defects that every copy has are listed and do not fail.
"""

import importlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from multimodal_ser import __version__
from multimodal_ser.cache import write_json
from multimodal_ser.corpora import READERS, audio_files, checks, proxies, summaries
from multimodal_ser.corpora.audio_files import AudioFacts
from multimodal_ser.corpora.checks import Counts
from multimodal_ser.corpora.manifest_tools import written_root
from multimodal_ser.corpora.preparation_report import screen, write_remarks
from multimodal_ser.corpora.reading import CLAMPED, Reading, Remark, split_by_fold
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.labels import Scale, nearest
from multimodal_ser.manifests import write

MANIFEST, REPORT, DROPPED, FLAGGED = "manifest.jsonl", "prepare.json", "dropped.csv", "flagged.csv"
VERIFIED = "verified_audio.jsonl"
REPORT_VERSION = 1
FOLD = re.compile(r"fold\d+")  # names of folds in counts


@dataclass(frozen=True)
class Preparation:
    """A finished preparation: where the manifest lies, all numbers, and what failed."""

    manifest: Path
    report: dict[str, Any]
    failures: list[str]

    def screen(self) -> str:
        """The report on one screen."""
        return screen(self.report, self.manifest.parent)

    def raise_failures(self) -> None:
        """Raise `SomeFailed` if anything failed."""
        if self.failures:
            raise SomeFailed("; ".join(self.failures) + f"; all is listed in {self.manifest.parent}")


def reader_named(name: str) -> ModuleType:
    """The module that reads the corpus `name`."""
    if name not in READERS:
        raise InputError(
            f"unknown corpus '{name}'{nearest(name.lower(), list(READERS))}; known: {', '.join(READERS)}. "
            "For labels of your own use 'table', for audio without labels 'folder'"
        )
    return importlib.import_module(f"multimodal_ser.corpora.{READERS[name]}")


def prepare(
    name: str,
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    jobs: int = 1,
    verify_audio: bool = False,
    keep_missing_audio: bool = False,
    fold: int | None = None,
    proxy_dimensions: bool = False,
    allow_partial: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Preparation:
    """Read the corpus in `folder`, check it, and write manifest and reports into `output`.

    `options` go to the reader. Failures are returned, not raised: see `Preparation.raise_failures`.
    """
    output = _made_folder(output)
    reading = _read(name, Path(folder), dict(options or {}))
    checks.drop_repeated_ids(reading)
    root = Path(reading.header.audio_root or folder).absolute()
    facts = checks.check_audio(reading, root, jobs, verify_audio, keep_missing_audio, output / VERIFIED)
    compared = checks.flag_same_audio(reading, root, facts)
    checks.flag_missing_text(reading)
    checks.forget_flags_of_dropped(reading)
    counts = checks.counts(reading)
    failures = _failures(reading, counts, allow_partial)
    if proxy_dimensions:
        reading.utterances = proxies.with_proxies(reading.utterances)
    if fold is not None:
        reading.utterances = split_by_fold(reading.utterances, fold)
        counts = {
            name: count for name, count in counts.items() if name == summaries.TOTAL or FOLD.fullmatch(name)
        }
    reading.header = replace(reading.header, audio_root=written_root(root, output) if facts else None)
    report = {
        **_identity(name, folder, reading),
        "options": {"fold": fold, "proxy_dimensions": proxy_dimensions, **_plain(options or {})},
        "counts": counts,
        **_findings(reading, facts),
        "same_audio_looked_for": compared,
        "audio_verified": verify_audio,
        "failures": failures,
    }
    write(output / MANIFEST, reading.header, reading.utterances)
    write_remarks(output / DROPPED, reading.dropped)
    write_remarks(output / FLAGGED, reading.flagged)
    write_json(output / REPORT, report)
    return Preparation(output / MANIFEST, report, failures)


def _made_folder(output: str | os.PathLike) -> Path:
    path = Path(output)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output-dir {path}: cannot make this folder ({error.strerror})") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"--output-dir {path}: no permission to write there")
    return path


def _read(name: str, folder: Path, options: dict[str, Any]) -> Reading:
    try:
        reading = reader_named(name).read(folder, **options)
    except PermissionError as error:
        raise InputError(f"no permission to read {error.filename}") from None
    if not reading.utterances:
        reasons = _reasons(reading.dropped)
        why = f"; left out: {reasons}" if reasons else ", and nothing that looks like one was left out"
        raise InputError(f"no utterance of '{name}' found in {folder}{why}. Is this the corpus' top folder?")
    return reading


def _failures(reading: Reading, counts: Counts, allow_partial: bool) -> list[str]:
    tolerated = {audio_files.MISSING} if allow_partial else set()
    failed = [remark for remark in reading.dropped if remark.failed and remark.reason not in tolerated]
    failures = [f"{len(failed)} items failed ({_reasons(failed)})"] if failed else []
    if (problems := checks.count_problems(counts)) and not allow_partial:
        failures.append(
            f"the counts are not the published ones ({'; '.join(problems)}; published: "
            f"{reading.expected_from or 'in the documentation of the reader'}). Is the corpus unpacked "
            "completely, and is this the version meant? To go on with a part of it, add --allow-partial"
        )
    return failures


def _identity(name: str, folder: str | os.PathLike, reading: Reading) -> dict[str, Any]:
    header = reading.header
    return {
        "report_version": REPORT_VERSION,
        "multimodal_ser": __version__,
        "reader": name,
        "corpus": header.corpus,
        "version": header.version,
        "licence": header.licence,
        "folder": os.fspath(folder),
        "audio_root": header.audio_root,
        "published_in": reading.expected_from,
    }


def _findings(reading: Reading, facts: dict[str, AudioFacts]) -> dict[str, Any]:
    seconds = {name: item.seconds for name, item in facts.items() if item.seconds is not None}
    usable = [item for item in facts.values() if item.sampling_rate is not None]
    summary = summaries.summarise(reading.utterances, seconds)
    return {
        "dropped": dict(Counter(remark.reason for remark in reading.dropped).most_common()),
        "failed": sum(remark.failed for remark in reading.dropped),
        "flagged": dict(Counter(remark.reason for remark in reading.flagged).most_common()),
        "clamped_labels": sum(remark.reason == CLAMPED for remark in reading.flagged),
        "audio": {
            "files": len(facts),
            "problems": summaries.counted(item.problem for item in facts.values() if item.problem),
            "formats": summaries.counted(f"{item.sampling_rate} Hz, {item.channels} ch" for item in usable),
        },
        **summary,
        "rating_scale": None if reading.scale is None else str(reading.scale),
        "labels_on_rating_scale": _on_scale(summary[summaries.TOTAL]["labels"], reading.scale),
        "notes": reading.notes,
    }


def _on_scale(labels: dict[str, dict[str, Any]], scale: Scale | None) -> dict[str, Any] | None:
    if scale is None:
        return None
    return {
        name: {
            "mean": round(scale.from_unit(found["mean"]), 4),
            "spread": round(found["spread"] * (scale.high - scale.low), 4),
        }
        for name, found in labels.items()
        if found["n"]
    }


def _reasons(remarks: list[Remark]) -> str:
    counts = Counter(remark.reason for remark in remarks)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    simple = (str, int, float, bool, type(None), list, dict)
    return {name: value if isinstance(value, simple) else str(value) for name, value in options.items()}
