"""Emotion classes, where they are labelled: how well each layer tells them on unseen speakers."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.analysis import random_control
from multimodal_ser.analysis.conclusions import NOT_SUPPORTED, SUPPORTED, Verdict, shown
from multimodal_ser.analysis.controls import class_probe
from multimodal_ser.analysis.probes import FOLDS, SomeRows, speaker_folds
from multimodal_ser.analysis.relevance import Relevance
from multimodal_ser.metrics import Resampling

FEWEST = 20  # utterances of a class
CLAIM = "emotion classes can be read from the encoder"


def categories(
    features: NDArray,
    emotions: Sequence[str | None],
    speakers: Sequence[str],
    random: Sequence[NDArray] = (),
    seed: int = 0,
) -> tuple[dict[str, Any], Relevance, Verdict] | None:
    """Balanced accuracy of each layer (L, 1) for the classes that enough people show; None for a lone one."""
    who, count = defaultdict(set), defaultdict(int)
    for emotion, speaker in zip(emotions, speakers, strict=True):
        if emotion is not None:
            who[emotion].add(speaker)
            count[emotion] += 1
    classes = sorted(name for name in who if len(who[name]) >= FOLDS and count[name] >= FEWEST)
    rows = np.flatnonzero([emotion in classes for emotion in emotions])
    people = [speakers[row] for row in rows]
    if len(classes) < 2 or len(set(people)) < FOLDS:
        return None
    labels, folds = [str(emotions[row]) for row in rows], speaker_folds(people, FOLDS, seed)
    resampling = Resampling(people, seed)
    found = class_probe(SomeRows(features, rows), labels, folds, resampling)
    control = [class_probe(SomeRows(one, rows), labels, folds, resampling) for one in random]
    facts = {"classes": classes, "utterances": len(rows), "best_layer": int(found.values.argmax())}
    return facts, found, _verdict(found, control, len(classes))


def _verdict(found: Relevance, random: Sequence[Relevance], classes: int) -> Verdict:
    best = int(found.values[:, 0].argmax())
    score = found.interval(best, 0)
    reasons = [f"balanced accuracy {shown(score)} at layer {best}; guessing gives {1 / classes:.3f}"]
    passed = score.low > 1 / classes
    if random:
        beyond = random_control.beyond(found, random)
        reasons.append(str(beyond))
        passed = passed and beyond.interval.low > 0
    return Verdict(CLAIM, SUPPORTED if passed else NOT_SUPPORTED, tuple(reasons))
