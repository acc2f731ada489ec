"""All measures of the layers of one encoder on one manifest, as one JSON-ready results dictionary.

Utterances that lack a speaker or one of the measured dimensions are left out, and counted. Scores are CCC
in unit scale; every number with an interval is `[value, low, high]`, over resampled speakers. What cannot
be computed is null.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.analysis import conclusions, controls, random_control
from multimodal_ser.analysis.categories import categories
from multimodal_ser.analysis.choosing import Comparison, Measured
from multimodal_ser.analysis.incremental import increments, reduced, with_others
from multimodal_ser.analysis.learned_weights import LearnedWeights, doubts, learn, left_out_of_mix
from multimodal_ser.analysis.mlp_probe import mlp_probe
from multimodal_ser.analysis.plain import curve, curves, plain
from multimodal_ser.analysis.probes import FOLDS, SomeRows, probe_layers, speaker_folds
from multimodal_ser.analysis.relevance import Relevance, scored
from multimodal_ser.analysis.similarity import cca_by_layer, cka_by_layer, speaker_groups
from multimodal_ser.errors import InputError
from multimodal_ser.metrics import Interval, Resampling, ccc_of, pearson_of

SCHEMA_VERSION = 1
SPEAKERS_TOLD_APART = 50  # in the speaker probe: those with most utterances
RESAMPLES = 1_000
LEARNING_ROWS = 2_000  # that the learned weights are trained on, at most
PERMUTED = {"permuted across speakers": False, "permuted within speakers": True}
RANDOM = "random encoders"
DURATION = "duration (CCC)"
Metric = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# Measures that vote on the order of dimensions, one of each kind: CCA repeats what the probes say, truncation
# what the gains say. All are shown.
VOTING = ("probes", "gain", "cka")


def measure(
    features: NDArray,
    chosen: Measured,
    seconds: NDArray[np.float64],
    random: Sequence[NDArray] = (),
    others: Mapping[str, Comparison] | None = None,
    seed: int = 0,
    mlp: bool = False,
    told: Mapping[str, Comparison] | None = None,
) -> dict[str, Any]:
    """Every measure, control and conclusion for layers (N, L, F) of the chosen rows.

    seconds: durations (N,). random: the layers of randomly initialised encoders of the same shape, for the
    same rows. others: what layers are compared with, and what is probed alone, as a baseline. mlp: a
    nonlinear probe as well. told: single columns that layers may tell instead of emotion, such as the
    sentiment of the words.
    """
    check_layers(features.shape[1])
    folds = speaker_folds(chosen.speakers, FOLDS, seed)
    resampling = Resampling(chosen.speakers, seed, RESAMPLES)
    with tqdm(total=6, desc="measure", unit="step", leave=False, file=sys.stderr) as bar:
        read = _read(features, chosen, seconds, folds, resampling, seed)
        permuted = {name: read.pop(name) for name in PERMUTED}
        duration = read.pop(DURATION)
        bar.update(2)
        components = reduced(features)
        measures = read | _other_measures(features, components, chosen, folds, resampling, bar)
        if mlp:
            probed = mlp_probe(components, chosen.labels, folds, seed)
            measures["mlp"] = scored(probed, chosen.labels, resampling)
        untrained = [scored(probe_layers(one, chosen.labels, folds), chosen.labels, resampling)
                     for one in random]  # fmt: skip
        confounders = {DURATION: duration, **_confounders(features, chosen, resampling)}
        confounders |= {
            f"{name} (CCC)": _told(features, chosen, one, folds) for name, one in (told or {}).items()
        }
        bar.update()
        weights, measures["left out of the mix"] = _learned(features, chosen, measures["probes"], folds, seed)
        bar.update()
        compared = {
            name: _compared(features, components, chosen, other, folds, seed)
            for name, other in (others or {}).items()
        }
        classes = categories(features, chosen.emotions, chosen.speakers, random, seed)
    names = chosen.names
    voting = {name: measures[name] for name in VOTING}
    everything = measures | permuted | ({RANDOM: random_control.mean_of(untrained)} if untrained else {})
    found = verdicts(voting, names, permuted, untrained)
    found += [
        conclusions.beyond_baseline(name, other, added[k], found[k])
        for other, (_, added) in compared.items()
        for k, name in enumerate(names)
    ]
    if classes is not None:
        found.append(classes[2])
    return {
        "schema_version": SCHEMA_VERSION,
        "scale": "0-1",
        "dimensions": list(names),
        "layers": features.shape[1],
        "random_encoders": len(random),
        "utterances": len(chosen.rows),
        "left_out": chosen.left_out,
        "speakers": resampling.clusters,
        "measures": {name: curves(one, names) for name, one in everything.items()},
        "confounders": {name: curve(one, 0) for name, one in confounders.items()},
        "comparisons": {name: one for name, (one, _) in compared.items()},
        "categories": None if classes is None else classes[0] | {"curve": curve(classes[1], 0)},
        "learned_weights": weights,
        "places": {
            name: {d: plain(asdict(conclusions.place(one, k))) for k, d in enumerate(names)}
            for name, one in voting.items()
        },
        "agreement": [plain(asdict(one)) for one in conclusions.agreements(voting, names)],
        "conclusions": [plain(asdict(one)) for one in found],
        "rules": conclusions.RULES,
    }  # fmt: skip


def check_layers(count: int) -> None:
    """Refuse an encoder that leaves nothing to compare."""
    if count < 2:
        raise InputError("this encoder has one layer: which of its layers matters is no question")


def verdicts(
    voting: Mapping[str, Relevance],
    names: Sequence[str],
    permuted: Mapping[str, Relevance],
    random: Sequence[Relevance],
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
    features: NDArray,
    components: NDArray[np.float64],
    chosen: Measured,
    folds: NDArray[np.int64],
    resampling: Resampling,
    bar: tqdm,
) -> dict[str, Relevance]:
    labels, targets = chosen.labels, [chosen.labels[:, [k]] for k in range(len(chosen.names))]
    added = increments(components, labels, folds, resampling)
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


def _told(features: NDArray, chosen: Measured, other: Comparison, folds: NDArray[np.int64]) -> Relevance:
    """CCC with which each layer tells a single column, (L, 1)."""
    rows = other.rows
    resampling = Resampling([chosen.speakers[row] for row in rows], 0, RESAMPLES)
    return scored(
        probe_layers(SomeRows(features, rows), other.features, folds[rows]), other.features, resampling
    )


def _compared(
    features: NDArray,
    components: NDArray[np.float64],
    chosen: Measured,
    other: Comparison,
    folds: NDArray[np.int64],
    seed: int,
) -> tuple[dict[str, Any], list[Interval]]:
    """How alike layers are to other features, how well those are read alone, what all layers add to them."""
    rows = other.rows
    resampling = Resampling([chosen.speakers[row] for row in rows], seed, RESAMPLES)
    layers, labels, here = SomeRows(features, rows), chosen.labels[rows], folds[rows]
    alone = controls.baseline(other.features, labels, here, resampling)
    both = scored([with_others(components[rows], other.features, labels, here)], labels, resampling)
    added = Relevance(both.values - alone.values, both.draws - alone.draws)
    intervals = [added.interval(0, k) for k in range(len(chosen.names))]
    found = {
        "utterances": len(rows),
        "width": other.features.shape[1],
        "cca": curve(cca_by_layer(layers, [other.features], here, resampling), 0),
        "cka": curve(cka_by_layer(layers, [other.features], speaker_groups(resampling)), 0),
        "alone (CCC)": {name: curve(alone, k)[0] for k, name in enumerate(chosen.names)},
        "added (CCC)": {name: plain(one) for name, one in zip(chosen.names, intervals, strict=True)},
    }
    return found, intervals


def _learned(
    features: NDArray, chosen: Measured, probes: Relevance, folds: NDArray[np.int64], seed: int
) -> tuple[dict[str, Any], Relevance]:
    """The weights with what speaks against them, and what the mix loses without each layer."""
    rows = np.random.default_rng(seed).permutation(len(chosen.rows))[:LEARNING_ROWS]
    rows = np.sort(rows)
    some, labels = np.asarray(features[rows]), chosen.labels[rows]
    raw, normalised = learn(some, labels, normalised=False), learn(some, labels, normalised=True)
    people = Resampling([chosen.speakers[row] for row in rows], seed, RESAMPLES)
    left_out = left_out_of_mix(some, labels, folds[rows], people)
    said = doubts(raw, normalised, np.nan_to_num(probes.values))

    def shown(weights: LearnedWeights, k: int) -> dict[str, Any]:
        parts = {
            "weights": weights.mean[:, k],
            "entropy": weights.entropy[:, k],
            "centre": weights.centre[:, k],
        }
        return plain({name: part.tolist() for name, part in parts.items()})

    shown_weights = {
        "standing": "diagnostic only: not used in any conclusion",
        "utterances": len(rows),
        **{
            name: {"as is": shown(raw, k), "normalised": shown(normalised, k), "doubts": said[k]}
            for k, name in enumerate(chosen.names)
        },
    }
    return shown_weights, left_out
