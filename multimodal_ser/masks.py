"""What a masking policy hides, to be looked at: pictures of a few clips, and numbers over a whole manifest.

`ems` policies hide spans of 10 ms frames where energy is high (objectives/emotional_spans.py), `vesper`
policies small and large spans of 20 ms frames from bands of energy (objectives/masking.py). The masks are
those of training: they follow from seed, epoch and id.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from multimodal_ser.audio import load
from multimodal_ser.drawing import COLOURS, GREY, STYLE, WIDTH, save
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.mel import HOP, SAMPLE_RATE, WINDOW, LogMel
from multimodal_ser.objectives.emotional_spans import SpanConfig, generator_for, in_band, span_starts
from multimodal_ser.objectives.intensity import at_times, energy, frame_times
from multimodal_ser.objectives.mask_statistics import Drawn, measured
from multimodal_ser.objectives.masking import BandConfig, draw, frame_levels

POLICIES = ("ems", "ems_random", "ems_as_released", "vesper", "vesper_random", "vesper_as_released")
_VESPER_HOP = 320  # samples, 20 ms
_BATCH = 16  # utterances side by side: of importance to vesper_as_released alone
_BANDS = 64


class Masked(NamedTuple):
    """One utterance and what is hidden of it."""

    id: str
    waveform: NDArray[np.float32]
    intensity: NDArray[np.float64]  # (T,), 1 at the loudest
    spans: dict[str, Drawn]
    frame: float  # seconds


def masked(manifest: Manifest, policy: str, epoch: int = 0, seed: int = 0) -> Iterator[Masked]:
    """Every utterance of a manifest under a policy."""
    if policy not in POLICIES:
        raise InputError(f"--policy {policy}{nearest(policy, list(POLICIES))}; known: {', '.join(POLICIES)}")
    family, _, rule = policy.partition("_")
    for first in range(0, len(manifest), _BATCH):
        ids, waves = [], []
        for utterance in manifest.utterances[first : first + _BATCH]:
            ids.append(utterance.id)
            waves.append(load(manifest.audio_path(utterance), utterance.start, utterance.end))
        randoms = [generator_for(name, epoch, seed) for name in ids]
        batch = _ems if family == "ems" else _vesper
        yield from batch(ids, waves, rule, randoms)


def draw_masks(
    manifest: Manifest,
    policy: str,
    folder: str | os.PathLike,
    clips: int = 4,
    epoch: int = 0,
    seed: int = 0,
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """Pictures of the first clips, and the statistics of each kind of span over all utterances."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[Drawn]] = {}
    pictures = []
    for number, one in enumerate(masked(manifest, policy, epoch, seed)):
        for name, spans in one.spans.items():
            drawn.setdefault(name, []).append(spans)
        if number < clips:
            # Not by id, which comes from a file and may hold anything.
            pictures.append(save(_figure(one, policy), folder / f"clip_{number + 1:02}.png"))
    return {name: measured(spans) for name, spans in drawn.items()}, pictures


def _frames(wave: NDArray[np.float32], hop: int) -> int:
    return max(1, (len(wave) - WINDOW) // hop + 1) if len(wave) else 0


def _ems(
    ids: Sequence[str], waves: Sequence[NDArray], rule: str, randoms: Sequence[np.random.Generator]
) -> Iterator[Masked]:
    config = SpanConfig(policy=rule or "intense")
    for name, wave, random in zip(ids, waves, randoms, strict=True):
        count = _frames(wave, HOP)
        curve = at_times(energy(wave), frame_times(count, 1))
        starts = span_starts(curve, config, random)
        spans = Drawn(starts, config.span, count, in_band(starts, curve, config.span))
        yield Masked(name, wave, curve, {"spans": spans}, HOP / SAMPLE_RATE)


def _vesper(
    ids: Sequence[str], waves: Sequence[NDArray], rule: str, randoms: Sequence[np.random.Generator]
) -> Iterator[Masked]:
    levels = [frame_levels(wave, _frames(wave, _VESPER_HOP), _VESPER_HOP) for wave in waves]
    drawn = draw(levels, BandConfig(rule or "emotion"), randoms)
    for name, wave, level, masks in zip(ids, waves, levels, drawn, strict=True):
        loudest = level.max(initial=0.0)
        spans = {"small spans": masks.small, "large spans": masks.large}
        yield Masked(name, wave, level / loudest if loudest else level, spans, _VESPER_HOP / SAMPLE_RATE)


def _figure(one: Masked, policy: str) -> Figure:
    """Spectrogram, intensity and hidden spans above one another, over the same seconds."""
    seconds = len(one.waveform) / SAMPLE_RATE
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6))
        above, middle, below = figure.subplots(3, sharex=True, height_ratios=(3, 1.5, 0.4 * len(one.spans)))
        wave = torch.from_numpy(np.ascontiguousarray(one.waveform, dtype=np.float32))[None]
        bands = LogMel(_BANDS, normalise_level=True)(wave, torch.tensor([wave.shape[1]]))[0].T.numpy()
        above.imshow(bands, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, _BANDS))
        above.set_ylabel("mel band")
        above.set_title(f"{one.id[:60]}: {policy}".replace("$", r"\$"), loc="left")
        times = (np.arange(len(one.intensity)) + 0.5) * one.frame
        middle.plot(times, one.intensity, color=GREY, linewidth=1)
        middle.set(ylabel="energy", ylim=(0, 1.05))
        for row, (name, colour) in enumerate(zip(one.spans, COLOURS.values(), strict=False)):
            spans = one.spans[name]
            bars = [(start * one.frame, spans.span * one.frame) for start in spans.starts]
            below.broken_barh(bars, (row + 0.1, 0.8), color=colour)
            for axes in (above, middle):
                for start, length in bars:
                    axes.axvspan(start, start + length, color=colour, alpha=0.25, linewidth=0)
        below.set(
            xlabel="seconds",
            xlim=(0, max(seconds, one.frame)),
            ylim=(0, len(one.spans)),
            yticks=np.arange(len(one.spans)) + 0.5,
            yticklabels=list(one.spans),
        )
    return figure
