"""Layers whose content is known, to see which measures find it.

A made-up encoder of 13 layers (input and 12 blocks). Arousal enters at layer 2, valence at layer 10;
dominance is the mean of three independent parts, which enter at layers 4, 5 and 6. As in a residual stream
each layer keeps most of the one below, so neighbours are correlated, and what entered fades. Every layer
carries offsets of the speakers larger than the emotion, and its activations are scaled by a factor from 1
to 100 in random order.

A measure finds a dimension if the layer it puts first is at most `TOLERANCE` from a layer where that
dimension was planted. Truncation puts first the layer without which most is lost, not the one from which on
nothing more is gained: deeper layers see the same content under other offsets of the speaker, so they go on
helping. Features are drawn anew for each seed; nothing else is random.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.analysis.controls import permuted_control
from multimodal_ser.analysis.incremental import increments, reduced
from multimodal_ser.analysis.learned_weights import doubts, learn
from multimodal_ser.analysis.probes import probe_layers, speaker_folds
from multimodal_ser.analysis.relevance import interval_of, scored
from multimodal_ser.analysis.similarity import cca_by_layer, cka_by_layer, speaker_groups
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.metrics import Interval, Resampling

LAYERS = 13
PLANTED = {"arousal": (2,), "valence": (10,), "dominance": (4, 5, 6)}
TOLERANCE = 1  # layers
SPEAKERS, UTTERANCES, UNITS = 30, 20, 12  # utterances of each speaker; units of each layer
KEPT = 0.7  # share of a layer's amplitude that comes from the layer below
STRENGTH = 2.0  # of a planted dimension along its direction, in standard deviations of a unit
SPEAKER_SPREAD = 1.5  # standard deviation of speaker offsets, in the same unit
LARGEST_SCALE = 100.0
RESAMPLES = 400


@dataclass(frozen=True)
class Layers:
    """The made-up encoder's output and the truth."""

    features: NDArray[np.float16]  # (N, L, F)
    labels: NDArray[np.float64]  # (N, 3)
    speakers: list[str]


@dataclass(frozen=True)
class SelfTest:
    """What one seed gave."""

    found: dict[str, tuple[int, ...]]  # per measure, the layer put first for each dimension
    control: Interval  # CCC under permuted labels, mean of layers and dimensions
    doubts: list[list[str]]  # per dimension, what speaks against reading the learned weights

    def misses(self, measure: str) -> list[str]:
        """The dimensions that a measure places wrongly."""
        return [
            name
            for name, layer in zip(DIMENSIONS, self.found[measure], strict=True)
            if min(abs(layer - planted) for planted in PLANTED[name]) > TOLERANCE
        ]


def make_layers(seed: int, utterances: int = UTTERANCES, units: int = UNITS) -> Layers:
    """Draw the made-up encoder's layers for some speakers."""
    generator = np.random.default_rng(seed)
    rows = SPEAKERS * utterances
    owner = np.repeat(np.arange(SPEAKERS), utterances)
    parts = {name: generator.uniform(0, 1, (rows, len(PLANTED[name]))) for name in DIMENSIONS}
    scales = generator.permutation(LARGEST_SCALE ** np.linspace(0, 1, LAYERS))
    stream = np.zeros((rows, units))
    layers = []
    for layer in range(LAYERS):
        new = generator.standard_normal((rows, units))
        for name, part in parts.items():
            if layer in PLANTED[name]:
                planted = part[:, PLANTED[name].index(layer)]
                direction = generator.standard_normal(units)
                direction *= STRENGTH / np.linalg.norm(direction)
                new += np.outer((planted - 0.5) * np.sqrt(12), direction)
        stream = KEPT * stream + np.sqrt(1 - KEPT**2) * new
        offsets = SPEAKER_SPREAD * generator.standard_normal((SPEAKERS, units))[owner]
        spread = 1 + 0.5 * generator.random(
            (rows, units)
        )  # standard deviations over time: they say nothing here
        layers.append(np.concatenate([scales[layer] * (stream + offsets), scales[layer] * spread], axis=1))
    features = np.stack(layers, axis=1).astype(np.float16)
    labels = np.stack([parts[name].mean(1) for name in DIMENSIONS], axis=1)
    return Layers(features, labels, [f"speaker {s:02}" for s in owner])


def run(seed: int, utterances: int = UTTERANCES, units: int = UNITS) -> SelfTest:
    """Measure one draw of the layers in every way."""
    made = make_layers(seed, utterances, units)
    folds = speaker_folds(made.speakers, seed=seed)
    resampling = Resampling(made.speakers, seed, RESAMPLES)
    targets = [made.labels[:, [k]] for k in range(len(DIMENSIONS))]
    probes = scored(probe_layers(made.features, made.labels, folds), made.labels, resampling)
    added = increments(reduced(made.features), made.labels, folds, resampling)
    cka = cka_by_layer(made.features, targets, speaker_groups(resampling), RESAMPLES)
    raw, normalised = (learn(made.features, made.labels, flag) for flag in (False, True))
    control = permuted_control(made.features, made.labels, made.speakers, folds, resampling, seed=seed)
    return SelfTest(
        found={
            "probes": _best(probes.values),
            "truncation": _best(added.truncation.gains().values),
            "similarity (CCA)": _best(cca_by_layer(made.features, targets, folds, resampling).values),
            "similarity (CKA)": _best(cka.values),
            "incremental": _best(added.gain.values),
            "left out": _best(added.left_out.values),
            "learned weights, as is": _best(raw.mean),
            "learned weights, normalised": _best(normalised.mean),
        },
        control=interval_of(float(control.values.mean()), control.draws.mean((1, 2))),
        doubts=doubts(raw, normalised, probes.values),
    )


def table(results: Sequence[SelfTest]) -> str:
    """Which measures found what, how often, and what the controls said."""
    width = max(map(len, results[0].found))
    lines = [f"planted: {', '.join(f'{name} at {_listed(PLANTED[name])}' for name in DIMENSIONS)}", ""]
    lines.append(
        f"{'seeds that place it right':{width}}  " + "  ".join(f"{name:>9}" for name in DIMENSIONS) + "   all"
    )
    for measure in results[0].found:
        misses = [one.misses(measure) for one in results]
        right = [sum(name not in missed for missed in misses) for name in DIMENSIONS]
        counts = "  ".join(f"{count:>6}/{len(results)}" for count in right)
        lines.append(f"{measure:{width}}  {counts}   {sum(not missed for missed in misses)}/{len(results)}")
    inside = sum(one.control.low <= 0 <= one.control.high for one in results)
    doubted = sum(all(one.doubts) for one in results)
    wrong = [one for one in results if one.misses("learned weights, as is")]
    flagged = sum(is_flagged(one) for one in wrong)
    lines += [
        "",
        f"permuted labels: the interval contains zero in {inside}/{len(results)}",
        f"learned weights of layers as they are: wrong in {len(wrong)}/{len(results)}, "
        f"flagged in {flagged} of these; doubted in all dimensions in {doubted}/{len(results)}",
    ]
    return "\n".join(lines)


def is_flagged(result: SelfTest) -> bool:
    """Whether every dimension that the learned weights misplace is doubted."""
    missed = result.misses("learned weights, as is")
    return all(result.doubts[DIMENSIONS.index(name)] for name in missed)


def _best(scores: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(layer) for layer in np.nan_to_num(scores).argmax(0))


def _listed(layers: tuple[int, ...]) -> str:
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
