"""What the starter model is worth: figures as JSON, and as a table on the screen.

    python recipes/starter/measure.py WORK MODEL

WORK is the folder of run.sh, MODEL a model folder. EmoBank's test split by the words alone; EmoDB by the
voice alone, each fold by a model that was made like MODEL and never heard its speakers; and how many clips
change by less than 0.05 when the gain changes by 2 dB or silence is added, for those models on new speakers
and for MODEL on all.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from multimodal_ser import metrics
from multimodal_ser.audio import load
from multimodal_ser.cache import write_json
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read

MOVED = 40  # clips of each set whose gain and surroundings are changed
SMALL = 0.05  # a change that does not matter, methods as Wagner et al. (2023) test them
CHANGES = {
    "gain_minus_2_dB": lambda x: x * 10 ** (-2 / 20),
    "gain_plus_2_dB": lambda x: x * 10 ** (2 / 20),
    "100_zeros_before": lambda x: np.pad(x, (100, 0)),
    "1000_zeros_before": lambda x: np.pad(x, (1000, 0)),
    "100_zeros_behind": lambda x: np.pad(x, (0, 100)),
    "1000_zeros_behind": lambda x: np.pad(x, (0, 1000)),
}


def heard(predictor: Predictor, waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """The audio reading (3,) of one clip."""
    model = predictor.model
    sound = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None]
    ids, mask = (None, None) if model.text is None else model.text.tokenize([""])
    with torch.inference_mode():
        encoded = model.encode(sound, torch.tensor([sound.shape[1]]), ids, mask)
        return model.read(encoded, "audio").dimensions[0].double().numpy()


def unchanged(predictor: Predictor, manifest: Manifest) -> dict[str, dict[str, list[bool]]]:
    """Per change and dimension, whether each clip changes by less than SMALL."""
    found: dict[str, dict[str, list[bool]]] = {name: {d: [] for d in DIMENSIONS} for name in CHANGES}
    for utterance in manifest.utterances:
        clip = load(manifest.audio_path(utterance))
        plain = heard(predictor, clip)
        for name, change in CHANGES.items():
            moved = np.abs(heard(predictor, change(clip)) - plain)
            for dimension, step in zip(DIMENSIONS, moved, strict=True):
                found[name][dimension].append(bool(step < SMALL))
    return found


def some(manifest: Manifest) -> Manifest:
    """Evenly spaced utterances, MOVED of them at most."""
    step = max(1, -(-len(manifest) // MOVED))
    return replace(manifest, utterances=manifest.utterances[::step])


def shares(parts: Sequence[dict[str, dict[str, list[bool]]]]) -> dict[str, dict[str, float]]:
    """The share of clips over several sets."""
    return {
        name: {d: float(np.mean([x for part in parts for x in part[name][d]])) for d in DIMENSIONS}
        for name in CHANGES
    }


def table(predictor: Predictor, manifest: Manifest, reading: str) -> pd.DataFrame:
    """One reading beside labels and speakers."""
    said = predictor.predict(predictor.examples(manifest))
    prefix = "" if predictor.model.readings[0] == reading else f"{reading}_"
    rows = pd.DataFrame({name: said[f"{prefix}{name}"] for name in DIMENSIONS})
    for name in DIMENSIONS:
        rows[f"label_{name}"] = [getattr(u, name) for u in manifest.utterances]
    for name in ("speaker", "gender", "emotion", "fold"):
        rows[name] = [getattr(u, name) for u in manifest.utterances]
    rows["id"] = [u.id for u in manifest.utterances]
    return rows


def agreement(rows: pd.DataFrame, name: str, measure: str) -> dict[str, float]:
    """A measure with its interval over speakers."""
    of_moments = {"ccc": metrics.ccc_of, "pearson": metrics.pearson_of}[measure]
    labels = rows[f"label_{name}"].to_numpy(dtype=float)
    return asdict(metrics.bootstrap(of_moments, rows[name].to_numpy(), labels, list(rows["speaker"])))


def bare_clips(work: Path) -> Manifest:
    """EmoDB as it is, without its guises."""
    return read(work / "voices" / "all.jsonl").select(lambda u: u.corpus == "emodb" and u.meta["guise"] == 0)


def by_voice(work: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of all left-out speakers, and what they come to."""
    parts, still = [], []
    bare = bare_clips(work)
    for made in sorted((work / "runs" / "joined").glob("fold*/model")):
        predictor = Predictor.load(made, "cpu")
        fold = int(made.parent.name.removeprefix("fold"))
        manifest = bare.select(lambda u, fold=fold: u.fold == fold)
        parts.append(table(predictor, manifest, "audio"))
        still.append(unchanged(predictor, some(manifest)))
    rows = pd.concat(parts, ignore_index=True)
    figures: dict[str, Any] = {name: agreement(rows, name, "ccc") for name in DIMENSIONS}
    folds = sorted(rows["fold"].unique())
    groups = [("gender", "female"), ("gender", "male"), *(("fold", fold) for fold in folds)]
    figures["groups"] = {
        f"{column} {value}": {name: metrics.ccc(part[name], part[f"label_{name}"]) for name in DIMENSIONS}
        for column, value in groups
        if len(part := rows[rows[column] == value])
    }
    figures["folds"], figures["clips"] = len(parts), len(rows)
    figures["means"] = {e: float(part["arousal"].mean()) for e, part in rows.groupby("emotion")}
    figures["unchanged"] = shares(still)
    return rows, figures


def by_words(work: Path, predictor: Predictor) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of EmoBank's development split for intervals, and figures of both splits."""
    manifest = read(work / "emobank" / "manifest.jsonl")
    figures, rows = {}, {}
    for split in ("development", "test"):
        part = manifest.split(split)
        rows[split] = table(predictor, part, "text")
        figures[split] = {
            measure: {name: agreement(rows[split], name, measure) for name in DIMENSIONS}
            for measure in ("pearson", "ccc")
        }
        genre = [(u.meta or {}).get("genre") or "unknown" for u in part.utterances]
        figures[split]["genres"] = {
            value: {
                "sentences": len(one),
                **{name: metrics.pearson(one[name], one[f"label_{name}"]) for name in DIMENSIONS},
            }
            for value, one in rows[split].groupby(pd.Series(genre))
            if len(one) >= 30
        }
    return rows["development"], figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--parts", nargs="+", choices=("voice", "words"), default=["voice", "words"])
    arguments = parser.parse_args()
    work, predictor = arguments.work, Predictor.load(arguments.model, "cpu")
    path = work / "measured.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "voice" in arguments.parts:
        rows, figures["voice"] = by_voice(work)
        rows.to_csv(work / "voice.csv", index=False)
        figures["unchanged"] = shares([unchanged(predictor, some(bare_clips(work)))])
    if "words" in arguments.parts:
        rows, figures["words"] = by_words(work, predictor)
        rows.to_csv(work / "words.csv", index=False)
    write_json(path, figures)
    print("\n".join(lines_of(figures)))


def lines_of(figures: dict[str, Any]) -> Iterator[str]:
    """The main figures for the screen."""
    voice, words = figures.get("voice"), figures.get("words")
    for name in DIMENSIONS if voice else ():
        yield f"EmoDB, left-out speakers, CCC with the proxy, {name}: {shown(voice[name])}"
    for split in ("development", "test") if words else ():
        for name in DIMENSIONS:
            yield f"EmoBank {split}, Pearson, {name}: {shown(words[split]['pearson'][name])}"
    for title, said in (("folds", voice["unchanged"]), ("model", figures["unchanged"])) if voice else ():
        for change, values in said.items():
            cells = ", ".join(f"{name} {100 * values[name]:.1f} %" for name in DIMENSIONS)
            yield f"{title}, {change}: {cells}"


def shown(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


if __name__ == "__main__":
    main()
