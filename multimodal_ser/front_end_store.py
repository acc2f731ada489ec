"""What a frozen front end makes of every clip, written once to memory maps that the training loop reads.

The convolutions are 70 % of DistilHuBERT's arithmetic, and while they are frozen they
say the same of a clip in every epoch: 51 kB per second of audio in half precision, 74 GB for 400 hours. A map
is named by the audio, the weights and options of the front end, and the precision, so that other weights or a
file that changed are encoded again. They are computed in single precision, whatever the training uses.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from multimodal_ser.audio_store import FULL_SCALE, SHARD, AudioStore, is_whole, sizes_of, write_shard
from multimodal_ser.cache import cache_folder, hash_bytes, hash_options
from multimodal_ser.errors import InputError
from multimodal_ser.models.audio_branch import AudioConfig
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.hubert import HubertEncoder

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_HELD = {"fp16": np.float16, "bf16": np.int16, "fp32": np.float32}  # numpy has no bfloat16
BATCH_SAMPLES = 60 * 16_000  # encoded at once, padding included


class FeatureStore(AudioStore):
    """The front end's output of utterances, each (T, channels), in maps of 16-bit words."""

    def __init__(self, shards: list[Path], sizes: list[NDArray[np.int64]], width: int, form: str) -> None:
        super().__init__(shards, sizes)
        self.width, self.form = width, form

    def __getitem__(self, index: int) -> Tensor:
        values = np.array(super().__getitem__(index)).view(_HELD[self.form])
        return torch.from_numpy(values).view(DTYPES[self.form]).reshape(-1, self.width)


def check_cached_front_end(config: AudioConfig, objective: str, is_augmented: bool) -> None:
    """Refuse what cannot be kept."""
    name = "model.audio.cached_front_end"
    if config.cached_front_end is None:
        return
    if config.cached_front_end not in DTYPES:
        raise InputError(
            f"{name} = '{config.cached_front_end}'; allowed: {', '.join(DTYPES)}, or null for none"
        )
    if is_augmented:
        raise InputError(
            f"{name} keeps what the front end says of each clip as it is, but data.augmentation changes the "
            "sound anew every time: leave one of the two out"
        )
    if config.frozen == "nothing" or config.is_untrained:
        raise InputError(
            f"{name} needs a frozen front end: a trained encoder and model.audio.frozen = front_end"
        )
    if objective != "supervised":
        raise InputError(f"{name} serves the objective supervised; '{objective}' has to hear the waveforms")


def encode_once(
    encoder: AudioEncoder,
    store: AudioStore,
    form: str,
    folder: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> FeatureStore:
    """The front end's output of all utterances of `store`; what an earlier call wrote is found again."""
    if not isinstance(encoder, HubertEncoder):
        raise InputError(
            "model.audio.cached_front_end: this encoder has no convolutional front end of its own; HuBERT, "
            "DistilHuBERT, wav2vec 2.0 and WavLM have one"
        )
    folder = cache_folder() / "front_end" if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [range(start, min(start + SHARD, len(store))) for start in range(0, len(store), SHARD)]
    front_end = _hash_of(encoder)
    names = [
        folder / f"{hash_options(form=form, front_end=front_end, clips=_clips(store, chunk))}.features"
        for chunk in chunks
    ]
    width = encoder.network.config.conv_dim[-1]
    missing = [n for n, name in enumerate(names) if not is_whole(name)]
    if missing:
        _check_room(folder, encoder, store.lengths[[i for n in missing for i in chunks[n]]], width, form)
        before = next(encoder.parameters()).device
        encoder.to(device)
        for n in tqdm(missing, desc="front end", unit="shard", leave=False):
            write_shard(names[n], _encoded(encoder, store, chunks[n], form, device))
        encoder.to(before)
    return FeatureStore(names, [sizes_of(name) for name in names], width, form)


@torch.inference_mode()
def _encoded(
    encoder: HubertEncoder, store: AudioStore, chunk: Sequence[int], form: str, device: torch.device | str
) -> Iterator[NDArray[np.int16]]:
    """The 16-bit words of each utterance, in order."""
    found: dict[int, NDArray[np.int16]] = {}
    for batch in _batches(store.lengths, chunk):
        lengths = torch.from_numpy(store.lengths[batch]).to(device)
        rows = np.zeros((len(batch), max(1, int(lengths.max()))), dtype=np.int16)
        for row, index in zip(rows, batch, strict=True):
            row[: store.lengths[index]] = store[index]
        waveforms = torch.from_numpy(rows).to(device).float() / FULL_SCALE
        features, frames = encoder.encode_front_end(waveforms, lengths)
        for index, row, count in zip(batch, features, frames.tolist(), strict=True):
            kept = row[:count].to(DTYPES[form]).cpu().flatten()
            if not kept.isfinite().all():
                raise InputError(
                    f"the front end's output does not fit into {form}: model.audio.cached_front_end = bf16"
                )
            held = kept.view(torch.int16) if form == "bf16" else kept
            found[index] = held.numpy().view(np.int16)
    for index in chunk:
        yield found[index]


def _batches(lengths: NDArray[np.int64], chunk: Sequence[int]) -> Iterator[list[int]]:
    """Utterances of similar length."""
    batch: list[int] = []
    for index in sorted(chunk, key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > BATCH_SAMPLES:
            yield batch
            batch = []
        batch.append(index)
    yield batch


def _clips(store: AudioStore, chunk: Sequence[int]) -> list[list[str | int]]:
    """Which audio it is: the map, named by its files, and the place in it."""
    places = (divmod(int(store.positions[index]), SHARD) for index in chunk)
    return [[store.shards[shard].name, place] for shard, place in places]


def _hash_of(encoder: HubertEncoder) -> str:
    """Everything that decides what the front end says."""
    network = encoder.network
    kernels, strides = list(network.config.conv_kernel), list(network.config.conv_stride)
    options = f"{encoder.config.normalise_input} {kernels} {strides}"
    parts = [options.encode()]
    for name, weight in network.feature_extractor.state_dict().items():
        parts += [name.encode(), weight.detach().cpu().contiguous().numpy().tobytes()]
    return hash_bytes(*parts)


def _check_room(
    folder: Path, encoder: HubertEncoder, lengths: NDArray[np.int64], width: int, form: str
) -> None:
    frames = int(encoder.frame_lengths(torch.from_numpy(lengths)).sum())
    wanted, free = frames * width * DTYPES[form].itemsize, shutil.disk_usage(folder).free
    if wanted > free:
        raise InputError(
            f"model.audio.cached_front_end needs {wanted / 2**30:.1f} GiB in {folder}, which has "
            f"{free / 2**30:.1f} GiB: set data.cache to a folder with more room, or leave the option out"
        )
