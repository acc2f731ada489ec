"""Layers of a text encoder for every transcript, and sentence embeddings to compare other layers with.

As for audio: half precision, (N, L, 2 D), a memory map that an interrupted pass goes on with. An utterance
without a transcript has no layers; who calls leaves it out first.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.analysis.encoders import fingerprint
from multimodal_ser.analysis.extraction import DEFAULT_POOLING, POOLINGS, check_range, opened, pooled
from multimodal_ser.cache import cache_folder, hash_options
from multimodal_ser.models.text import TextEncoder

BATCH = 64  # transcripts at once, of similar length


@torch.inference_mode()
def extract_text(
    encoder: TextEncoder,
    texts: Sequence[str],
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    pooling: str = DEFAULT_POOLING,
) -> NDArray[np.float16]:
    """The pooled layers (N, L, 2 D) of transcripts, a read-only memory map; what is there is found again."""
    folder = folder or cache_folder() / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(texts), encoder.num_layers + 1, 2 * encoder.width)
    key = hash_options(texts=list(texts), encoder=fingerprint(encoder), pooling=POOLINGS[pooling])
    path, done_path = folder / f"{key}.float16", folder / f"{key}.done"
    features, done = opened(path, np.float16, shape), opened(done_path, np.uint8, shape[:1])
    encoder = encoder.to(device)
    for rows in _batches(texts, np.flatnonzero(done == 0)):
        ids, mask = encoder.tokenize([texts[row] for row in rows])
        values = pooled(encoder(ids.to(device), mask.to(device)), pooling).cpu().numpy()
        check_range(values, tuple(texts[row][:40] for row in rows))
        features[rows] = values
        features.flush()
        done[rows] = 1
        done.flush()
    return np.memmap(path, dtype=np.float16, mode="r", shape=shape)


@torch.inference_mode()
def embeddings(
    encoder: TextEncoder, texts: Sequence[str], device: torch.device | str = "cpu"
) -> NDArray[np.float64]:
    """Sentence embeddings (N, D) of length 1, as sentence-transformers makes them."""
    out = np.zeros((len(texts), encoder.width))
    encoder = encoder.to(device)
    for rows in _batches(texts, np.arange(len(texts))):
        ids, mask = encoder.tokenize([texts[row] for row in rows])
        found = torch.nn.functional.normalize(encoder(ids.to(device), mask.to(device)).pooled, dim=1)
        out[rows] = found.double().cpu().numpy()
    return out


def _batches(texts: Sequence[str], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    order = rows[np.argsort([-len(texts[row]) for row in rows], kind="stable")]
    with tqdm(total=len(rows), desc="words", unit="text", leave=False) as progress:
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]
            progress.update(len(order[start : start + BATCH]))
