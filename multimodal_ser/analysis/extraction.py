"""One pass: what is left of every layer of every utterance once time is pooled away, kept on disk.

The file is a memory map of half precision, (N, L, 2 D): N utterances in the order of the manifest, L
layers, and two vectors of the layer's width D, which the pooling says: mean and standard deviation; mean with
attention and standard deviation; means of the first and of the last third. Its name says what it was made
from: audio, encoder, pooling.
Beside it one byte for each utterance says whether its row is there, written after the row, so an
interrupted pass goes on where it stopped. Only valid frames count: padding changes nothing.
"""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from multimodal_ser.analysis.encoders import fingerprint
from multimodal_ser.audio_store import AudioStore, decode
from multimodal_ser.batches import DurationBatches
from multimodal_ser.cache import cache_folder, hash_options
from multimodal_ser.data import Collate, Examples, iterate, loader
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.encoding import AudioEncoder, Encoding
from multimodal_ser.models.text import TextEncoding

BATCH_SECONDS = 120.0  # of audio at once
POOLINGS = {
    "statistics": "mean and standard deviation over valid frames, float16",
    "attentive": "mean over valid frames, each weighed by how like the clip's mean it is, and standard "
    "deviation, float16",
    "thirds": "mean over the first and over the last third of the valid frames, float16",
}
DEFAULT_POOLING = "statistics"
MAX_SHOWN = 5  # utterances that an error names
MAX_HALF = 65504.0  # the largest number of half precision


def pooled(encoding: Encoding | TextEncoding, pooling: str = DEFAULT_POOLING) -> Tensor:
    """Two vectors for each layer from its valid frames (or tokens), (B, L, 2 D)."""
    valid = encoding.mask[:, :, None]
    pool = {"statistics": _statistics, "attentive": _attentive, "thirds": _thirds}[pooling]
    return torch.stack(
        [torch.cat(pool(torch.where(valid, layer.float(), 0), valid), dim=1) for layer in encoding.layers],
        dim=1,
    )


def _mean(layer: Tensor, weights: Tensor) -> Tensor:
    """Mean (B, D) of frames (B, T, D) with weights (B, T, 1); zero where nothing has weight."""
    return (layer * weights).sum(1) / weights.sum(1).clamp(min=1e-12)


def _statistics(layer: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    mean = _mean(layer, valid)
    return mean, _mean((layer - mean[:, None]).square(), valid).sqrt()


def _attentive(layer: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Attention without anything learned: the clip's mean asks, and frames answer by cosine and softmax.

    Cosines times the square root of the width are as large as the scores of a trained attention head.
    """
    mean, deviation = _statistics(layer, valid)
    alike = torch.nn.functional.cosine_similarity(layer, mean[:, None], dim=2)[:, :, None]
    scores = (alike * layer.shape[2] ** 0.5).masked_fill(~valid, -torch.inf)
    weights = torch.nan_to_num((scores - scores.amax(1, keepdim=True)).exp())
    return _mean(layer, weights), deviation


def _thirds(layer: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """At least one frame each; those of a clip of one frame are the same."""
    count = valid.sum(1, keepdim=True)
    third = torch.ceil(count / 3)
    at = torch.arange(layer.shape[1], device=layer.device)[None, :, None]
    return _mean(layer, valid & (at < third)), _mean(layer, valid & (at >= count - third))


def extract(
    encoder: AudioEncoder,
    manifest: Manifest,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    batch_seconds: float = BATCH_SECONDS,
    pooling: str = DEFAULT_POOLING,
) -> NDArray[np.float16]:
    """The pooled layers (N, L, 2 D) of a manifest, a read-only memory map; what is there is found again."""
    store = decode(manifest)
    _check_audio(encoder, store, manifest)
    width, layers = encoder.width, encoder.num_layers + 1
    shape = (len(manifest), layers, 2 * width)
    folder = folder or cache_folder() / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    audio = [[shard.name for shard in store.shards], store.positions.tolist()]
    key = hash_options(audio=audio, encoder=fingerprint(encoder), pooling=POOLINGS[pooling])
    path, done_path = folder / f"{key}.float16", folder / f"{key}.done"
    features, done = opened(path, np.float16, shape), opened(done_path, np.uint8, shape[:1])
    examples = Examples(manifest, store)
    missing = np.flatnonzero(done == 0)
    if missing.size:
        _fill(features, done, encoder.to(device), examples, missing, device, batch_seconds, pooling)
    return np.memmap(path, dtype=np.float16, mode="r", shape=shape)


@torch.inference_mode()
def _fill(
    features: NDArray[np.float16],
    done: NDArray[np.uint8],
    encoder: AudioEncoder,
    examples: Examples,
    missing: NDArray[np.int64],
    device: torch.device | str,
    batch_seconds: float,
    pooling: str,
) -> None:
    """Encode the utterances that are missing, longest first."""
    batches = [
        missing[batch].tolist()
        for batch in DurationBatches(examples.seconds[missing], batch_seconds, shuffle=False).epoch(0)
    ]
    progress = tqdm(total=len(missing), desc="layers", unit="clip", leave=False)
    for batch in iterate(loader(examples, Collate(), batches), device):
        rows = batch.indices.cpu().numpy()
        values = pooled(encoder(batch.waveforms, batch.lengths), pooling).cpu().numpy()
        check_range(values, batch.ids)
        features[rows] = values
        features.flush()
        done[rows] = 1
        done.flush()
        progress.update(len(rows))
    progress.close()


def opened(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """A memory map to write to, of zeros at first."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if not path.exists() or path.stat().st_size != size:
        with path.open("wb") as file:
            os.truncate(file.fileno(), size)
    return np.memmap(path, dtype=kind, mode="r+", shape=shape)


def _check_audio(encoder: AudioEncoder, store: AudioStore, manifest: Manifest) -> None:
    frames = encoder.frame_lengths(torch.from_numpy(np.asarray(store.lengths))).numpy()
    empty = [u.id for u, count in zip(manifest.utterances, frames, strict=True) if count < 1]
    if empty:
        raise InputError(
            f"{len(empty)} utterance(s) have no audio or too little for one frame: {_some(empty)}. Layers "
            "of nothing cannot be measured: `multimodal-ser manifest --keep` or `--drop` leaves them out"
        )


def check_range(values: NDArray[np.float32], ids: tuple[str, ...]) -> None:
    is_bad = ~np.isfinite(values) | (np.abs(values) > MAX_HALF)
    if is_bad.any():
        where = [identifier for identifier, bad in zip(ids, is_bad.any((1, 2)), strict=True) if bad]
        layers = sorted(set(np.flatnonzero(is_bad.any((0, 2))).tolist()))
        raise InputError(
            f"layers {layers} of this encoder give NaN, infinity or more than {MAX_HALF:g} for "
            f"{_some(where)}; allowed are finite numbers in the range of half precision. The likely cause: "
            "broken or wrongly loaded weights"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:MAX_SHOWN]) + (
        f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    )
