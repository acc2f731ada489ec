"""How much a model loses as words are misheard: CCC on the test set at word error rates from 0 to 60 %.

    python recipes/synthetic/word_errors.py runs/synthetic      # the --work folder of run.sh

Compares `audio_text`, trained on correct transcripts, with `audio_text_corrupted`, of whose training
transcripts half had errors. The errors are those of training (`transcript_errors`): words that sound alike,
gaps, insertions. Every seed hears other errors, the same for both models; the word error rate is
measured, not assumed. Each figure is the mean over the seeds; its interval is over resampled speakers, the
same resamples for both. Writes `word_errors.json` and draws `word_errors.png` from it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from multimodal_ser import metrics
from multimodal_ser.cache import write_json
from multimodal_ser.drawing import GREY, STYLE, WIDTH, save
from multimodal_ser.edits import edit_distance
from multimodal_ser.evaluation.dimensions import moment_rows_of
from multimodal_ser.evaluation.values import Values
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors

CLEAN, CORRUPTED = "audio_text", "audio_text_corrupted"
RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
READINGS = ("fused", "text", "audio")
COLUMNS = (*DIMENSIONS, "mean")


def corrupted(test: Manifest, errors: TranscriptErrors, rate: float, draw: int = 0) -> tuple[Manifest, float]:
    """The set with errors in its transcripts, others for each draw; and their word error rate."""
    changed, wrong, words = [], 0, 0
    for number, utterance in enumerate(test.utterances):
        text = errors.corrupt(
            utterance.text or "", rate, np.random.default_rng((round(rate * 1_000), draw, number))
        )
        changed.append(replace(utterance, text=text))
        wrong += edit_distance((utterance.text or "").split(), text.split())
        words += len((utterance.text or "").split())
    return replace(test, utterances=changed), wrong / words


def said_by(runs: Sequence[Predictor], heard: Sequence[Manifest]) -> NDArray[np.float64]:
    """What each utterance adds to the figures of each run, (N, runs, readings, dimensions, 6)."""
    rows = []
    for predictor, test in zip(runs, heard, strict=True):
        table = predictor.predict(predictor.examples(test))
        rows.append(moment_rows_of(Values.of(table, test.utterances, predictor.model.readings)))
    order = [runs[0].model.readings.index(reading) for reading in READINGS]
    return np.stack(rows, axis=1)[:, :, order]


def agreement(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (..., runs, readings, dimensions, 6) to CCC (..., readings, dimensions and their mean)."""
    found = metrics.ccc_of(sums).mean(-3)
    return np.concatenate([found, found.mean(-1, keepdims=True)], axis=-1)


def measure(work: Path, rates: Sequence[float] = RATES) -> dict[str, Any]:
    """Everything that the table and the figure show."""
    manifest = read(work / "manifest" / "manifest.jsonl")
    test = manifest.split("test")
    texts = [utterance.text or "" for utterance in manifest.split("train").utterances]
    errors = TranscriptErrors(TranscriptConfig(), texts)
    folders = {name: sorted((work / "runs" / name).glob("*/model")) for name in (CLEAN, CORRUPTED)}
    if missing := [name for name, found in folders.items() if not found]:
        raise SystemExit(f"{work}/runs has no trained {missing[0]}; recipes/synthetic/run.sh trains both")
    seeds = {name: [path.parent.name for path in found] for name, found in folders.items()}
    if seeds[CLEAN] != seeds[CORRUPTED]:
        said = "; ".join(f"{name}: {', '.join(found)}" for name, found in seeds.items())
        raise SystemExit(
            f"{work}/runs: other seeds of one than of the other ({said}); run.sh trains what is missing"
        )
    runs = {name: [Predictor.load(path, "cpu") for path in found] for name, found in folders.items()}
    resampling = metrics.Resampling([utterance.speaker for utterance in test.utterances])
    points = []
    for rate in rates:
        heard, word_error_rates = zip(
            *(corrupted(test, errors, rate, n) for n in range(len(seeds[CLEAN]))), strict=True
        )
        rows = {name: said_by(found, heard) for name, found in runs.items()}
        values = {name: agreement(found.sum(0)) for name, found in rows.items()}
        draws = {name: agreement(resampling.draws(found)) for name, found in rows.items()}
        values["difference"] = values[CORRUPTED] - values[CLEAN]
        draws["difference"] = draws[CORRUPTED] - draws[CLEAN]
        points.append(
            {
                "rate": rate,
                "word_error_rate": float(np.mean(word_error_rates)),
                **{
                    name: {
                        reading: {
                            column: asdict(resampling.interval(float(value[r, c]), draws[name][:, r, c]))
                            for c, column in enumerate(COLUMNS)
                        }
                        for r, reading in enumerate(READINGS)
                    }
                    for name, value in values.items()
                },
            }
        )
    return {
        "set": "test",
        "utterances": len(test),
        "speakers": resampling.clusters,
        "runs": seeds[CLEAN],
        "points": points,
    }


def draw(found: dict[str, Any], path: Path) -> Path:
    """CCC of the fused reading against the word error rate, a panel for each dimension and their mean."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.7))
        panels = figure.subplots(1, len(COLUMNS), sharey=True)
        rates = [100 * point["word_error_rate"] for point in found["points"]]
        styles = {
            CLEAN: ("#D55E00", "o", "trained on correct words"),
            CORRUPTED: ("#0072B2", "s", "and on errors"),
        }
        for panel, column in zip(panels, COLUMNS, strict=True):
            for name, (colour, marker, label) in styles.items():
                cells = [point[name]["fused"][column] for point in found["points"]]
                low, value, high = ([cell[end] for cell in cells] for end in ("low", "value", "high"))
                panel.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
                panel.plot(
                    rates, value, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=label
                )
            voice = found["points"][0][CLEAN]["audio"][column]["value"]
            panel.axhline(voice, color=GREY, linestyle="--", linewidth=0.9, label="voice alone")
            panel.set_title(column)
            panel.set_xlabel("word error rate, %")
        panels[0].set_ylabel("CCC (no unit)")
        panels[0].set_ylim(0, 1)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return save(figure, path)


def table(found: dict[str, Any]) -> str:
    """The rows of the README, of the fused reading: both trainings, and the second less the first."""
    columns = [(column, name) for column in ("valence", "dominance", "mean") for name in (CLEAN, CORRUPTED)]
    names = {CLEAN: "correct words", CORRUPTED: "and errors"}
    header = [f"{column}, {names[name]}" for column, name in columns]
    lines = [
        f"| word error rate | {' | '.join(header)} | mean, difference |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for point in found["points"]:
        cells = [_cell(point[name]["fused"][column]) for column, name in columns]
        cells.append(_cell(point["difference"]["fused"]["mean"], sign=True))
        lines.append(f"| {point['word_error_rate']:.1%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: dict[str, float], sign: bool = False) -> str:
    form = "{:+.3f}" if sign else "{:.3f}"
    value, low, high = (form.format(found[end]) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Measure, draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "work", type=Path, help="the --work folder of run.sh, runs/synthetic unless it was given"
    )
    parser.add_argument("--draw-only", action="store_true", help="from the word_errors.json that is there")
    arguments = parser.parse_args()
    path = arguments.work / "word_errors.json"
    if not arguments.draw_only:
        write_json(path, measure(arguments.work))
    found = json.loads(path.read_text(encoding="utf-8"))
    print(table(found))
    print(draw(found, path.with_suffix(".png")))


if __name__ == "__main__":
    main()
