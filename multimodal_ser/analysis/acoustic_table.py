"""The acoustic set of many utterances: features (N, A) to compare layers with, and to probe alone."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.analysis.acoustics import NAMES, acoustic_set
from multimodal_ser.audio_store import FULL_SCALE, AudioStore
from multimodal_ser.cache import atomic_path, cache_folder, hash_options

VERSION = 1  # of the definitions in `acoustics`: what an older one computed is not found again


def acoustic_table(
    store: AudioStore, rows: NDArray[np.int64], folder: Path | None = None
) -> NDArray[np.float64]:
    """The acoustic set of some utterances (len(rows), A); what was computed is found again."""
    folder = folder or cache_folder() / "acoustics"
    names = [shard.name for shard in store.shards]
    key = hash_options(audio=names, positions=store.positions[rows].tolist(), names=NAMES, version=VERSION)
    path = folder / f"{key}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    progress = tqdm(rows, desc="acoustics", unit="clip", leave=False)
    found = [acoustic_set(store[row].astype(np.float64) / FULL_SCALE) for row in progress]
    table = np.array([[one[name] for name in NAMES] for one in found])
    with atomic_path(path) as temporary:
        np.save(temporary, table)
    return table


def filled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The measures that exist and vary, a missing value replaced by the mean of the others."""
    kept = []
    for column in table.T:
        known = column[~np.isnan(column)]
        if known.size and np.ptp(known) > 0:
            kept.append(np.where(np.isnan(column), known.mean(), column))
    return np.stack(kept, axis=1) if kept else np.zeros((len(table), 0))
