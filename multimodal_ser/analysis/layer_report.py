"""From a manifest and encoders to `results.json` and `layers.csv`.

`results.json` holds, for each encoder, everything that was measured and concluded (see `measuring`);
`layers.csv` has one line for each encoder, measure, dimension and layer.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_ser import __version__
from multimodal_ser.analysis import random_control
from multimodal_ser.analysis.encoders import (
    fingerprint,
    load_encoder,
    load_text_encoder,
    model_folder_of,
    randomised,
)
from multimodal_ser.analysis.extraction import DEFAULT_POOLING, POOLINGS, extract
from multimodal_ser.analysis.finetuning import FineTuning, fine_tuned
from multimodal_ser.analysis.measuring import SCHEMA_VERSION, check_layers, measure
from multimodal_ser.analysis.plain import curve, curves, plain
from multimodal_ser.analysis.sample import Sample, sample
from multimodal_ser.analysis.text_layers import extract_text
from multimodal_ser.analysis.trained_model import RULE, heard_or_read, losses_by_layer, predictions
from multimodal_ser.cache import write_json
from multimodal_ser.csv_files import write_table
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor, chosen_device
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.metrics import Resampling
from multimodal_ser.models.encoding import AudioEncoder

COLUMNS = ("encoder", "measure", "dimension", "layer", "depth", "value", "low", "high")
LEFT_OUT_OF_MODEL = "left out of the model"  # measure: CCC lost by a trained model without a layer of its mix


@dataclass(frozen=True)
class Options:
    """How layers are measured."""

    device: str = "auto"
    seed: int = 0
    cache: Path | None = None  # folder of pooled layers; None = the user's cache
    pooling: str = DEFAULT_POOLING
    mlp: bool = False
    sentence_encoder: str | None = None  # None = the usual one, if it is there
    sentiment: str | None = None  # model folder whose text branch says the valence of the words
    fine_tuning: FineTuning | None = None
    random_encoders: int | None = None  # None = as many as the corpus allows cheaply

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InputError(f"unknown pooling '{self.pooling}'; known: {', '.join(POOLINGS)}")
        random_control.seeds(
            self.random_encoders, 0, self.seed
        )  # refuses too few before anything is computed


def report_layers(
    manifest: Manifest,
    encoders: Sequence[str],
    output: str | os.PathLike,
    text_encoders: Sequence[str] = (),
    models: Sequence[str] = (),
    options: Options | None = None,
) -> dict[str, Any]:
    """Extract and measure the layers of each encoder and model, write the results, and return them."""
    options = options or Options()
    wanted = [(name, name, False) for name in encoders] + [(name, name, True) for name in text_encoders]
    for name in models:
        branches = Predictor.load(name, "cpu").model.config.branches
        both = len(branches) == 2
        wanted += [(f"{name} ({b})" if both else name, name, b == "text") for b in branches]
    samples = {
        reads: sample(manifest, reads, options.device, options.seed, options.sentence_encoder,
                      options.sentiment)
        for reads in {reads for _, _, reads in wanted}
    }  # fmt: skip
    found = {}
    for label, name, reads in wanted:
        one = _measured(name, samples[reads], reads, options)
        if name in models and (not reads or label == name):
            _add_model(one, name, samples[reads], options)
        if options.fine_tuning is not None and not reads and name not in models:
            folder = Path(output) / "finetune" / one["weights"]
            tuned = fine_tuned(name, one["layers"], folder, options.fine_tuning, options.seed)
            columns = {d: curve(tuned, k) for k, d in enumerate(DIMENSIONS)}
            one["measures"]["fine-tuned"] = {d: columns[d] for d in one["dimensions"]}
        found[label] = one
    results = {
        "schema_version": SCHEMA_VERSION,
        "multimodal_ser": __version__,
        "corpus": manifest.header.corpus,
        "corpus_version": manifest.header.version,
        "label_source": sorted({u.label_source or "unknown" for u in manifest.utterances}),
        "splits": sorted({u.split for u in manifest.utterances if u.split}),
        "pooling": POOLINGS[options.pooling],
        "seed": options.seed,
        "notes": sorted({note for one in samples.values() for note in one.notes}),
        "encoders": found,
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
        confounders = {name: {"": numbers} for name, numbers in found["confounders"].items()}
        if found.get("categories"):
            confounders["emotion class (balanced accuracy)"] = {"": found["categories"]["curve"]}
        for measured, by_dimension in (found["measures"] | alike | confounders).items():
            for dimension, numbers_by_layer in by_dimension.items():
                for layer, numbers in enumerate(numbers_by_layer):
                    yield [encoder, measured, dimension, layer, layer / last, *numbers]


def summary(results: dict[str, Any]) -> str:
    """What follows, in words, for a terminal."""
    lines = [f"note: {note}" for note in results.get("notes", ())]
    for name, found in results["encoders"].items():
        counts = f"{found['utterances']:,} utterances of {found['speakers']:,} speakers"
        lines.append(f"{name}: {found['layers']} layers, {counts} ({found['left_out']:,} left out)")
        for one in found["conclusions"] + found.get("model", {}).get("conclusions", []):
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


def _measured(name: str, one: Sample, reads: bool, options: Options) -> dict[str, Any]:
    encoder = load_text_encoder(name) if reads else load_encoder(name)
    check_layers(encoder.num_layers + 1)
    seeds = random_control.seeds(options.random_encoders, len(one.manifest), options.seed)
    if options.fine_tuning is not None and not reads:
        options.fine_tuning.check(encoder.num_layers)
    place = chosen_device(options.device)

    def layers_of(network: Any) -> np.ndarray:
        if isinstance(network, AudioEncoder):
            return extract(network, one.manifest, options.cache, place, pooling=options.pooling)
        texts = [u.text or "" for u in one.manifest.utterances]
        return extract_text(network, texts, options.cache, place, options.pooling)

    features = layers_of(encoder)
    random = [layers_of(randomised(encoder, seed)) for seed in seeds]
    found = measure(
        features, one.chosen, one.seconds, random, one.others, options.seed, options.mlp, one.told
    )
    return {"weights": fingerprint(encoder), "kind": type(encoder).__name__, **found}


def _add_model(found: dict[str, Any], name: str, one: Sample, options: Options) -> None:
    """What the trained model makes of its layers and branches, added to what was measured of its encoder."""
    predictor = Predictor.load(model_folder_of(name), options.device)
    names = one.chosen.names
    columns = [DIMENSIONS.index(dimension) for dimension in names]
    said, without = predictions(predictor, one.manifest)
    said = {reading: values[:, columns] for reading, values in said.items()}
    resampling = Resampling(one.chosen.speakers, options.seed)
    readings, verdicts = heard_or_read(said, one.chosen.labels, names, resampling)
    found["model"] = {
        "weights": predictor.name,
        "trained_on": any(u.split == "train" for u in one.manifest.utterances),
        "readings": {
            reading: {d: curve(scores, k)[0] for k, d in enumerate(names)}
            for reading, scores in readings.items()
        },
        "conclusions": [plain(asdict(verdict)) for verdict in verdicts],
        "rule": RULE,
    }
    if without is not None:
        first = said[predictor.model.readings[0]]
        losses = losses_by_layer(first, without[:, :, columns], one.chosen.labels, resampling)
        found["measures"][LEFT_OUT_OF_MODEL] = curves(losses, names)
