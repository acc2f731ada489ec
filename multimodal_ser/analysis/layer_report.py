"""From a manifest and encoders to `results.json` and `layers.csv`.

`results.json` holds, for each encoder, everything that was measured and concluded (see `measuring`);
`layers.csv` has one line for each encoder, measure, dimension and layer.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser import __version__
from multimodal_ser.analysis.acoustic_table import acoustic_table, filled
from multimodal_ser.analysis.encoders import fingerprint, load_encoder, randomised
from multimodal_ser.analysis.extraction import POOLING, extract
from multimodal_ser.analysis.measuring import SCHEMA_VERSION, Comparison, Measured, choose, measure
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.audio_store import AudioStore, decode
from multimodal_ser.cache import write_json
from multimodal_ser.csv_files import write_table
from multimodal_ser.inference import chosen_device
from multimodal_ser.manifests import Manifest

ACOUSTIC_ROWS = 3_000  # utterances that the acoustic set is computed of, at most
COLUMNS = ("encoder", "measure", "dimension", "layer", "depth", "value", "low", "high")


def report_layers(
    manifest: Manifest,
    encoders: Sequence[str],
    output: str | os.PathLike,
    device: str = "auto",
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Extract and measure the layers of each encoder, write the results, and return them."""
    chosen = choose(manifest.utterances)
    wanted = Manifest(manifest.header, [manifest.utterances[row] for row in chosen.rows], manifest.root)
    others = {"acoustic set": _acoustics(decode(wanted), seed)}
    results = {
        "schema_version": SCHEMA_VERSION,
        "multimodal_ser": __version__,
        "corpus": manifest.header.corpus,
        "corpus_version": manifest.header.version,
        "label_source": sorted({u.label_source or "unknown" for u in wanted.utterances}),
        "splits": sorted({u.split for u in wanted.utterances if u.split}),
        "pooling": POOLING,
        "seed": seed,
        "encoders": {name: _measured(name, wanted, chosen, others, device, seed, cache) for name in encoders},
    }
    write_json(Path(output) / "results.json", results)
    write_table(Path(output) / "layers.csv", COLUMNS, rows_of(results))
    return results


def rows_of(results: dict[str, Any]) -> Iterator[list[Any]]:
    """The lines of `layers.csv`."""
    for encoder, found in results["encoders"].items():
        last = found["layers"] - 1
        alike = {
            f"{measure} with the {name}": {"": other[measure]}
            for name, other in found["comparisons"].items()
            for measure in ("cca", "cka")
        }
        confounders = {name: {"": curve} for name, curve in found["confounders"].items()}
        for measured, curves in (found["measures"] | alike | confounders).items():
            for dimension, curve in curves.items():
                for layer, numbers in enumerate(curve):
                    yield [encoder, measured, dimension, layer, layer / last, *numbers]


def summary(results: dict[str, Any]) -> str:
    """What follows, in words, for a terminal."""
    lines = []
    for name, found in results["encoders"].items():
        counts = f"{found['utterances']:,} utterances of {found['speakers']:,} speakers"
        lines.append(f"{name}: {found['layers']} layers, {counts} ({found['left_out']:,} left out)")
        for one in found["conclusions"]:
            lines.append(f"  {one['claim']}: {one['verdict']}")
            lines += [f"    {reason}" for reason in one["reasons"]]
        apart = [one for one in found["agreement"] if one["disagree"]]
        for one in apart:
            first, second = one["measures"]
            a, b = one["best_layers"]
            lines.append(
                f"  measures disagree about {one['dimension']}: {first} layer {a}, {second} layer {b}"
            )
    return "\n".join(lines)


def _measured(
    name: str,
    manifest: Manifest,
    chosen: Measured,
    others: dict[str, Comparison],
    device: str,
    seed: int,
    cache: Path | None,
) -> dict[str, Any]:
    encoder = load_encoder(name)
    place = chosen_device(device)
    features = extract(encoder, manifest, cache, place)
    random = extract(randomised(encoder, seed), manifest, cache, place)
    seconds = np.asarray(decode(manifest).lengths) / SAMPLE_RATE
    found = measure(features, chosen, seconds, random, others, seed)
    return {"weights": fingerprint(encoder), "kind": type(encoder).__name__, **found}


def _acoustics(store: AudioStore, seed: int) -> Comparison:
    """The acoustic set of a random part of the utterances."""
    order = np.random.default_rng(seed).permutation(len(store))
    rows = np.sort(order[:ACOUSTIC_ROWS])
    return Comparison(rows, filled(acoustic_table(store, rows)))
