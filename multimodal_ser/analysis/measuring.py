"""All measures of the layers of one encoder on one manifest, as one JSON-ready results dictionary.

Utterances that lack a speaker or one of the measured dimensions are left out, and counted. Scores are CCC
in unit scale; every number with an interval is `[value, low, high]`, over resampled speakers. What cannot
be computed is null.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.analysis import conclusions, controls
from multimodal_ser.analysis.incremental import increments, reduced
from multimodal_ser.analysis.learned_weights import LearnedWeights, doubts, learn
from multimodal_ser.analysis.probes import FOLDS, SomeRows, probe_layers, speaker_folds
from multimodal_ser.analysis.relevance import Relevance, scored
from multimodal_ser.analysis.similarity import cca_by_layer, cka_by_layer, speaker_groups
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Utterance
from multimodal_ser.metrics import Interval, Resampling, ccc_of, pearson_of

SCHEMA_VERSION = 1
FEWEST = 60  # labelled utterances
SPEAKERS_TOLD_APART = 50  # in the speaker probe: those with most utterances
RESAMPLES = 1_000
LEARNING_ROWS = 2_000  # that the learned weights are trained on, at most
PERMUTED = {"permuted across speakers": False, "permuted within speakers": True}
DURATION = "duration (CCC)"
Metric = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# Measures that vote on the order of dimensions, one of each kind: CCA repeats what the probes say, truncation
# what the gains say. All are shown.
VOTING = ("probes", "gain", "cka")


@dataclass(frozen=True)
class Comparison:
    """Other features of some of the measured rows, such as the acoustic set or sentence embeddings."""

    rows: NDArray[np.int64]  # among those measured
    features: NDArray[np.float64]  # (len(rows), A) finite


@dataclass(frozen=True)
class Measured:
    """Rows of a manifest that can be measured, and what is known about them."""

    rows: NDArray[np.int64]
    names: tuple[str, ...]  # dimensions
    labels: NDArray[np.float64]  # (N, K)
    speakers: list[str]
    genders: list[str | None]
    left_out: int


def choose(utterances: Sequence[Utterance]) -> Measured:
    """The utterances that can be measured, or what is wrong with all of them."""
    table = np.array(
        [[math.nan if (v := getattr(u, d)) is None else v for d in DIMENSIONS] for u in utterances],
        dtype=float,
    ).reshape(len(utterances), len(DIMENSIONS))
    used = np.flatnonzero((~np.isnan(table)).any(0))
    if not used.size:
        raise InputError(
            "no utterance of this manifest has arousal, valence or dominance: nothing to measure"
        )
    has_all = ~np.isnan(table[:, used]).any(1)
    rows = np.flatnonzero(has_all & np.array([u.speaker is not None for u in utterances]))
    names = tuple(DIMENSIONS[k] for k in used)
    if len(rows) < FEWEST:
        raise InputError(
            f"{len(rows)} of {len(utterances)} utterances have a speaker and {', '.join(names)}; at least "
            f"{FEWEST} are needed. With fewer, no interval would tell one layer from another"
        )
    labels = table[np.ix_(rows, used)]
    if (constant := np.flatnonzero(np.ptp(labels, axis=0) == 0)).size:
        name, value = names[constant[0]], labels[0, constant[0]]
        raise InputError(
            f"{name} is {value:g} for every utterance: what does not vary cannot be read. The likely cause: "
            "a default value in place of missing labels, which should be null"
        )
    some = [utterances[row] for row in rows]
    return Measured(
        rows,
        names,
        labels,
        [u.speaker or "" for u in some],
        [u.gender for u in some],
        len(utterances) - len(rows),
    )


def measure(
    features: NDArray,
    chosen: Measured,
    seconds: NDArray[np.float64],
    random: NDArray | None = None,
    others: Mapping[str, Comparison] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure, control and conclusion for layers (N, L, F) of the chosen rows.

    seconds: durations (N,). random: the layers of a randomly initialised encoder of the same shape, for the
    same rows. others: what layers are compared with, and what is probed alone, as a baseline.
    """
    if features.shape[1] < 2:
        raise InputError("this encoder has one layer: which of its layers matters is no question")
    folds = speaker_folds(chosen.speakers, FOLDS, seed)
    resampling = Resampling(chosen.speakers, seed, RESAMPLES)
    with tqdm(total=6, desc="measure", unit="step", leave=False, file=sys.stderr) as bar:
        read = _read(features, chosen, seconds, folds, resampling, seed)
        permuted = {name: read.pop(name) for name in PERMUTED}
        duration = read.pop(DURATION)
        bar.update(2)
        measures = read | _other_measures(features, chosen, folds, resampling, bar)
        baseline = None
        if random is not None:
            baseline = scored(probe_layers(random, chosen.labels, folds), chosen.labels, resampling)
        confounders = {DURATION: duration, **_confounders(features, chosen, resampling)}
        bar.update()
        weights = _learned(features, chosen, measures["probes"], seed)
        bar.update()
    names = chosen.names
    voting = {name: measures[name] for name in VOTING}
    everything = measures | permuted | ({} if baseline is None else {"random encoder": baseline})
    return {
        "schema_version": SCHEMA_VERSION,
        "scale": "0-1",
        "dimensions": list(names),
        "layers": features.shape[1],
        "utterances": len(chosen.rows),
        "left_out": chosen.left_out,
        "speakers": resampling.clusters,
        "measures": {name: _curves(one, names) for name, one in everything.items()},
        "confounders": {name: _curve(one, 0) for name, one in confounders.items()},
        "comparisons": {
            name: _compared(features, chosen, other, folds, seed) for name, other in (others or {}).items()
        },
        "learned_weights": weights,
        "places": {
            name: {d: _plain(asdict(conclusions.place(one, k))) for k, d in enumerate(names)}
            for name, one in voting.items()
        },
        "agreement": [_plain(asdict(one)) for one in conclusions.agreements(voting, names)],
        "conclusions": [_plain(asdict(one)) for one in verdicts(voting, names, permuted, baseline)],
        "rules": conclusions.RULES,
    }  # fmt: skip


def verdicts(
    voting: Mapping[str, Relevance],
    names: Sequence[str],
    permuted: Mapping[str, Relevance],
    random: Relevance | None,
) -> list[conclusions.Verdict]:
    """Whether each dimension can be read, and whether valence lies deeper than arousal."""
    null = permuted["permuted across speakers"]
    carried = [conclusions.carried(k, d, voting["probes"], null, random) for k, d in enumerate(names)]
    if not {"arousal", "valence"} <= set(names):
        return carried
    both = [carried[names.index("arousal")], carried[names.index("valence")]]
    return [*carried, conclusions.order(voting, names, both)]


def _read(
    features: NDArray,
    chosen: Measured,
    seconds: NDArray[np.float64],
    folds: NDArray[np.int64],
    resampling: Resampling,
    seed: int,
) -> dict[str, Relevance]:
    """What probes read of labels, of permuted labels and of the duration: one probe of each layer for all."""
    labels, copies = chosen.labels, controls.COPIES
    targets = [labels] + [
        controls.permuted(labels, chosen.speakers, within, copies, seed).reshape(len(labels), -1)
        for within in PERMUTED.values()
    ]
    targets.append(controls.durations(seconds))
    ends = np.cumsum([target.shape[1] for target in targets])
    probed = probe_layers(features, np.concatenate(targets, axis=1), folds)

    def scores(number: int, metric_of: Metric = ccc_of) -> Relevance:
        part = slice(ends[number] - targets[number].shape[1], ends[number])
        return scored([one.targets(part) for one in probed], targets[number], resampling, metric_of)

    return {
        "probes": scores(0),
        "probes (Pearson)": scores(0, pearson_of),
        **{name: controls.over_copies(scores(1 + n), copies) for n, name in enumerate(PERMUTED)},
        DURATION: scores(len(targets) - 1),
    }


def _other_measures(
    features: NDArray, chosen: Measured, folds: NDArray[np.int64], resampling: Resampling, bar: tqdm
) -> dict[str, Relevance]:
    labels, targets = chosen.labels, [chosen.labels[:, [k]] for k in range(len(chosen.names))]
    added = increments(reduced(features), labels, folds, resampling)
    bar.update()
    cka = cka_by_layer(features, targets, speaker_groups(resampling))
    cca = cca_by_layer(features, targets, folds, resampling)
    bar.update()
    return {
        "truncation": added.truncation,
        "gain": added.gain,
        "left out": added.left_out,
        "cca": cca,
        "cka": cka,
    }


def _confounders(features: NDArray, chosen: Measured, resampling: Resampling) -> dict[str, Relevance]:
    """How well each layer tells speaker and gender, where there are enough of them."""
    found: dict[str, Relevance] = {}
    common = {s for s, n in Counter(chosen.speakers).most_common(SPEAKERS_TOLD_APART) if n >= FOLDS}
    if len(common) > 1:
        rows = np.flatnonzero([s in common for s in chosen.speakers])
        found["speaker (balanced accuracy)"] = controls.speaker_probe(
            SomeRows(features, rows), [chosen.speakers[row] for row in rows]
        )
    people = {(s, g) for s, g in zip(chosen.speakers, chosen.genders, strict=True) if g in ("female", "male")}
    if min(sum(g == gender for _, g in people) for gender in ("female", "male")) >= FOLDS:
        rows = np.flatnonzero([g in ("female", "male") for g in chosen.genders])
        speakers = [chosen.speakers[row] for row in rows]
        found["gender (balanced accuracy)"] = controls.gender_probe(
            SomeRows(features, rows), [str(chosen.genders[row]) for row in rows], speaker_folds(speakers),
            Resampling(speakers, resampling.seed, RESAMPLES),
        )  # fmt: skip
    return found


def _compared(
    features: NDArray, chosen: Measured, other: Comparison, folds: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """How alike each layer is to other features, and how well those are read alone."""
    rows = other.rows
    resampling = Resampling([chosen.speakers[row] for row in rows], seed, RESAMPLES)
    layers, labels, here = features[rows], chosen.labels[rows], folds[rows]
    alone = controls.baseline(other.features, labels, here, resampling)
    return {
        "utterances": len(rows),
        "width": other.features.shape[1],
        "cca": _curve(cca_by_layer(layers, [other.features], here, resampling), 0),
        "cka": _curve(cka_by_layer(layers, [other.features], speaker_groups(resampling)), 0),
        "alone (CCC)": {name: _curve(alone, k)[0] for k, name in enumerate(chosen.names)},
    }


def _learned(features: NDArray, chosen: Measured, probes: Relevance, seed: int) -> dict[str, Any]:
    rows = np.random.default_rng(seed).permutation(len(chosen.rows))[:LEARNING_ROWS]
    some, labels = np.asarray(features[np.sort(rows)]), chosen.labels[np.sort(rows)]
    raw, normalised = learn(some, labels, normalised=False), learn(some, labels, normalised=True)
    said = doubts(raw, normalised, np.nan_to_num(probes.values))

    def shown(weights: LearnedWeights, k: int) -> dict[str, Any]:
        parts = {
            "weights": weights.mean[:, k],
            "entropy": weights.entropy[:, k],
            "centre": weights.centre[:, k],
        }
        return _plain({name: part.tolist() for name, part in parts.items()})

    return {
        "standing": "diagnostic only: not used in any conclusion",
        "utterances": len(rows),
        **{
            name: {"as is": shown(raw, k), "normalised": shown(normalised, k), "doubts": said[k]}
            for k, name in enumerate(chosen.names)
        },
    }


def _curves(measure: Relevance, names: Sequence[str]) -> dict[str, Any]:
    return {name: _curve(measure, k) for k, name in enumerate(names)}


def _curve(measure: Relevance, k: int) -> list[Any]:
    return [_plain(measure.interval(layer, k)) for layer in range(measure.layers)]


def _plain(value: Any) -> Any:
    """JSON-ready: an interval as [value, low, high], NaN as null."""
    if isinstance(value, Interval):
        return [_plain(part) for part in (value.value, value.low, value.high)]
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high"}:  # an interval that asdict took apart
            return [_plain(part) for part in value.values()]
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
