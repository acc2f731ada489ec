"""The audio of a manifest, decoded once to 16-bit memory maps that are found again.

16 kHz mono, two bytes per sample: 400 hours are 46 GB, read at the speed of the disk or from memory, by any
number of processes. A map is named by the files it was made from (path, size, time of change, start, end),
so a file that changed is decoded again.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.audio import SAMPLE_RATE, AudioError, load
from multimodal_ser.cache import atomic_path, cache_folder, hash_options, write_json
from multimodal_ser.cores import usable_cores
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest, check_audio
from multimodal_ser.utterances import Utterance

FULL_SCALE = 32_768  # the 16-bit value of a sample of 1.0: 16-bit recordings at 16 kHz are kept exactly
SHARD = 1_000  # utterances per memory map: what an interrupted decoding has to do again at most
CLIPS_WORTH_A_PROCESS = 2_000  # a process takes seconds to start, a clip milliseconds to decode
MAX_PROBLEMS = 20


class AudioStore:
    """The audio of utterances as 16-bit samples in memory-mapped files."""

    def __init__(
        self,
        shards: list[Path],
        sizes: list[NDArray[np.int64]],
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        """sizes: samples of the utterances of each shard. positions: those of this store; None = all."""
        self.shards = shards
        self.sizes = sizes
        every = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
        self.positions = np.arange(len(every)) if positions is None else positions
        self.lengths = every[self.positions]  # samples per utterance
        self._starts = [np.concatenate([[0], np.cumsum(size)]) for size in sizes]
        self._maps: dict[int, NDArray[np.int16]] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> NDArray[np.int16]:
        shard, position = divmod(int(self.positions[index]), SHARD)
        if shard not in self._maps:
            path = self.shards[shard]
            self._maps[shard] = (
                np.memmap(path, dtype=np.int16, mode="r") if path.stat().st_size else np.zeros(0, np.int16)
            )
        start, stop = self._starts[shard][position : position + 2]
        return self._maps[shard][start:stop]

    def rows(self, positions: Sequence[int]) -> "AudioStore":
        """The audio of some of the utterances, in the given order."""
        return AudioStore(self.shards, self.sizes, self.positions[np.asarray(positions, dtype=np.int64)])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a worker process opens the files itself


def decode(manifest: Manifest, folder: Path | None = None, jobs: int | None = None) -> AudioStore:
    """Decode the audio of a manifest once; what an earlier call decoded is found again.

    An utterance without audio is empty. Unreadable audio is an error that lists the files.
    """
    check_audio(manifest)
    folder = folder or cache_folder() / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [_task(manifest, utterance) for utterance in manifest.utterances]
    chunks = [tasks[start : start + SHARD] for start in range(0, len(tasks), SHARD)]
    form = (SAMPLE_RATE, FULL_SCALE)
    names = [folder / f"{hash_options(form=form, tasks=chunk)}.int16" for chunk in chunks]
    missing = [n for n, name in enumerate(names) if not is_whole(name)]
    problems: list[str] = []
    if missing:
        progress = tqdm(total=sum(len(chunks[n]) for n in missing), desc="decode", unit="clip", leave=False)
        with progress, _mapper(_jobs(jobs, progress.total)) as ordered_map:
            for n in missing:
                problems += _decode_shard(ordered_map, chunks[n], names[n], progress)
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
        more = f"\n  ... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise InputError(
            f"{len(problems)} utterances cannot be decoded{shown}{more}\n"
            "`multimodal-ser prepare --verify-audio` leaves such files out of the manifest and lists them"
        )
    return AudioStore(names, [sizes_of(name) for name in names])


def _task(manifest: Manifest, utterance: Utterance) -> list[Any]:
    """What to decode, and what shows that a file has changed since."""
    if utterance.audio is None:
        return []
    path = manifest.audio_path(utterance)
    status = path.stat()
    return [os.fspath(path.resolve()), status.st_size, status.st_mtime_ns, utterance.start, utterance.end]


def _jobs(jobs: int | None, tasks: int) -> int:
    return max(1, min(jobs or usable_cores(), tasks // CLIPS_WORTH_A_PROCESS))


@contextlib.contextmanager
def _mapper(jobs: int) -> Iterator[Callable]:
    """A `map` that keeps the order, over `jobs` processes."""
    if jobs == 1:
        yield map
        return
    # Not forked: the libraries' threads would not survive it.
    with get_context("spawn").Pool(jobs) as pool:
        yield partial(pool.imap, chunksize=8)


def _decode_task(task: list[Any]) -> NDArray[np.int16] | str:
    """Samples, or what is wrong: an exception of one file must not hide those of the others."""
    if not task:
        return np.zeros(0, np.int16)
    path, _, _, start, end = task
    try:
        waveform = load(path, start, end)
    except AudioError as error:
        return str(error)
    return np.clip(np.rint(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _decode_shard(ordered_map: Callable, tasks: list[list[Any]], path: Path, progress: tqdm) -> list[str]:
    """Write one memory map and its sizes, or nothing if there are problems, which are returned."""
    problems: list[str] = []

    def sound() -> Iterator[NDArray[np.int16]]:
        for samples in ordered_map(_decode_task, tasks):
            progress.update()
            if isinstance(samples, str):
                problems.append(samples)
            else:
                yield samples
        if problems:
            raise _NotWritten

    with contextlib.suppress(_NotWritten):
        write_shard(path, sound())
    return problems


def write_shard(path: Path, rows: Iterable[NDArray[np.int16]]) -> None:
    """Write one memory map of 16-bit words and the sizes of its rows, whole or not at all."""
    sizes = []
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for row in rows:
            sizes.append(len(row))
            file.write(row.tobytes())
    write_json(path.with_suffix(".json"), sizes)


class _NotWritten(Exception):
    """Leaves the block of a file that must not be kept."""


def sizes_of(path: Path) -> NDArray[np.int64]:
    """The sizes of the rows of a memory map."""
    return np.array(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), dtype=np.int64)


def is_whole(path: Path) -> bool:
    """Whether a memory map is there, with as many samples as were written."""
    return (
        path.exists()
        and path.with_suffix(".json").exists()
        and path.stat().st_size == sizes_of(path).sum() * np.dtype(np.int16).itemsize
    )
