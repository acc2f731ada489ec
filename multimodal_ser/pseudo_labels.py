"""Frame pseudo-labels: clusters of one layer of an encoder, by mini-batch k-means, written into a manifest.

The clusters are fitted on training utterances only; `transductive` fits them on all audio, as Li et al.
(ICASSP 2024) did, who saw the audio of their test speakers that way. Labels are then given to every
utterance, one per frame of the encoder.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.cluster import MiniBatchKMeans

from multimodal_ser.analysis.encoders import fingerprint, load_encoder
from multimodal_ser.audio import load
from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest, write
from multimodal_ser.models.encoding import AudioEncoder

CLUSTERS = 50
LAYER = 9
SEED = 1337
ITERATIONS = 100
BATCH_FRAMES = 10_000
RESTARTS = 20
TRAINING = "train"  # the split whose audio the clusters are fitted on


def fit_clusters(
    frames: NDArray[np.floating],
    clusters: int = CLUSTERS,
    seed: int = SEED,
    restarts: int = RESTARTS,
) -> MiniBatchKMeans:
    """Clusters of `frames` (N, D), from k-means++ starts."""
    if len(frames) < clusters:
        raise InputError(
            f"{len(frames)} frames are too few for {clusters} clusters: take fewer clusters or more audio"
        )
    return MiniBatchKMeans(
        clusters,
        init="k-means++",
        max_iter=ITERATIONS,
        batch_size=BATCH_FRAMES,
        n_init=restarts,
        random_state=seed,
        compute_labels=False,
        reassignment_ratio=0.0,
    ).fit(np.asarray(frames, dtype=np.float32))


@torch.inference_mode()
def extract_frames(encoder: AudioEncoder, waveform: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
    """The valid frames (T, D) of one layer of one clip."""
    if len(waveform) == 0:
        return np.zeros((0, encoder.width), dtype=np.float32)
    clip = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None]
    encoding = encoder.eval()(clip, torch.tensor([len(waveform)]), last_layer=layer)
    return encoding.layers[-1][0][encoding.mask[0]].float().numpy()


def pseudo_label(
    manifest: Manifest,
    encoder_name: str | os.PathLike,
    folder: str | os.PathLike,
    layer: int = LAYER,
    clusters: int = CLUSTERS,
    seed: int = SEED,
    transductive: bool = False,
) -> Path:
    """Write DIR/manifest.jsonl with frame labels, the cluster centres, and what they were made from."""
    encoder = load_encoder(encoder_name)
    if not 0 <= layer <= encoder.num_layers:
        raise InputError(f"layer {layer}: this encoder has layers 0 to {encoder.num_layers}")
    fitted_on = manifest if transductive else manifest.split(TRAINING)
    fitting = [frames for _, frames in _frames(fitted_on, encoder, layer)]
    kmeans = fit_clusters(np.concatenate(fitting), clusters, seed)
    labelled = [
        replace(utterance, frame_labels=kmeans.predict(frames).tolist() if len(frames) else [])
        for utterance, frames in _frames(manifest, encoder, layer)
    ]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"centres": np.ascontiguousarray(kmeans.cluster_centers_)}, folder / "clusters.safetensors")
    facts = {
        "encoder": os.fspath(encoder_name),
        "encoder_hash": fingerprint(encoder),
        "layer": layer,
        "clusters": clusters,
        "seed": seed,
        "transductive": transductive,
        "fitted_on_utterances": len(fitted_on),
        "labelled_utterances": len(labelled),
        "frame_rate": encoder.frame_rate,
    }
    write_json(folder / "clusters.json", facts)
    root = str(manifest.root.resolve()) if manifest.root is not None else None
    write(folder / "manifest.jsonl", replace(manifest.header, audio_root=root), labelled)
    return folder / "manifest.jsonl"


def _frames(manifest: Manifest, encoder: AudioEncoder, layer: int) -> Iterator[tuple]:
    for utterance in manifest.utterances:
        waveform = load(manifest.audio_path(utterance), utterance.start, utterance.end)
        yield utterance, extract_frames(encoder, waveform, layer)
