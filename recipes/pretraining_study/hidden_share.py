"""What share of real speech each rule of emotional masking hides, with energy as intensity, at 10 ms frames.

python recipes/pretraining_study/hidden_share.py MANIFEST
"""

import sys

import numpy as np

from multimodal_ser import audio, manifests
from multimodal_ser.models.mel import HOP, SAMPLE_RATE, WINDOW
from multimodal_ser.objectives.emotional_spans import SpanConfig, generator_for, hidden_frames, span_starts
from multimodal_ser.objectives.intensity import at_times, energy, frame_times

POLICIES = ("random", "intense", "as_released")


def main(path: str) -> None:
    manifest = manifests.read(path)
    shares, overlaps, levels = ({policy: [] for policy in POLICIES} for _ in range(3))
    for utterance in manifest.utterances:
        wave = audio.load(manifest.audio_path(utterance), utterance.start, utterance.end)
        frames = max(1, (len(wave) - WINDOW) // HOP + 1)
        curve = at_times(energy(wave), frame_times(frames, 1))
        for policy in POLICIES:
            config = SpanConfig(policy=policy)
            starts = span_starts(curve, config, generator_for(utterance.id, 0))
            hidden = hidden_frames(starts, frames, config.span)
            shares[policy].append(hidden.mean())
            overlaps[policy].append(1 - hidden.sum() / (len(starts) * config.span))
            levels[policy].append(curve[hidden].mean() / curve.mean())
    print(f"{len(manifest)} utterances at {SAMPLE_RATE} Hz, share 0.15, span 7 frames of 10 ms, seed 0")
    print(
        "| policy | hidden % | of the spans' length lost to overlap % | intensity, relative to the clip's |"
    )
    print("|---|---|---|---|")
    for policy in POLICIES:
        share, overlap = 100 * np.mean(shares[policy]), 100 * np.mean(overlaps[policy])
        print(f"| {policy} | {share:.1f} | {overlap:.1f} | {np.mean(levels[policy]):.2f} |")


if __name__ == "__main__":
    main(sys.argv[1])
