"""From manifests to batches: audio decoded once to 16-bit memory maps, a dataset, and batches sized in
seconds.

B, S, L: utterances, samples, tokens. Audio is 16 kHz mono. Everything random about an utterance is drawn
from (seed, epoch, index), so that it does not depend on workers, processes, or where a run was
interrupted.
"""

import contextlib
import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from multimodal_ser.audio import SAMPLE_RATE, AudioError, load
from multimodal_ser.cache import atomic_path, cache_folder, hash_options, write_json
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, Utterance, check_audio

FULL_SCALE = 32_767  # the 16-bit value of a sample of 1.0
SHARD = 1_000  # utterances per memory map: what an interrupted decoding has to do again at most
CHARACTERS_PER_SECOND = 15.0  # of English speech; sizes batches where there is no audio
CLIPS_WORTH_A_PROCESS = 2_000  # a process takes seconds to start, a clip milliseconds to decode
WINDOW = 50  # batches whose utterances are sorted by length together
MAX_PROBLEMS = 20

AudioChange = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
TextChange = Callable[[str, np.random.Generator], str]
Tokenize = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


class Batch(NamedTuple):
    """Utterances of similar length."""

    waveforms: Tensor | None  # (B, S) float, -1..1, zero behind each end; None = text only
    lengths: Tensor  # (B,) samples; 0 = no audio
    token_ids: Tensor | None  # (B, L)
    token_mask: Tensor | None  # (B, L) bool, True = valid
    targets: Tensor  # (B, 3) in the order of DIMENSIONS, unit scale, NaN = not labelled
    class_shares: Tensor  # (B, C) shares of votes per class, a row of NaN = not labelled
    frame_labels: Tensor | None  # (B, T) class per frame, -1 behind each end
    indices: Tensor  # (B,) positions in the dataset
    ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device; 16-bit audio becomes float there."""
        moved = [x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in self]
        batch = Batch(*moved)
        if batch.waveforms is not None and batch.waveforms.dtype == torch.int16:
            batch = batch._replace(waveforms=batch.waveforms.float() / FULL_SCALE)
        return batch

    def rows(self, part: slice) -> "Batch":
        """Some of the utterances."""
        picked = [x[part] if isinstance(x, Tensor | tuple) else x for x in self]
        batch = Batch(*picked)
        if batch.waveforms is not None:
            longest = max(int(batch.lengths.max()), 1)
            batch = batch._replace(waveforms=batch.waveforms[:, :longest])
        return batch

    @property
    def size(self) -> int:
        """B."""
        return len(self.ids)


class Draw(NamedTuple):
    """One utterance, to be drawn in one epoch."""

    index: int
    epoch: int


class AudioStore:
    """The audio of a manifest as 16-bit samples in memory-mapped files."""

    def __init__(self, shards: list[Path], sizes: list[NDArray[np.int64]]) -> None:
        self.shards = shards
        self.lengths = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)  # samples per utterance
        self._starts = [np.concatenate([[0], np.cumsum(size)]) for size in sizes]
        self._maps: dict[int, NDArray[np.int16]] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> NDArray[np.int16]:
        shard, position = divmod(index, SHARD)
        if shard not in self._maps:
            path = self.shards[shard]
            self._maps[shard] = (
                np.memmap(path, dtype=np.int16, mode="r") if path.stat().st_size else np.zeros(0, np.int16)
            )
        start, stop = self._starts[shard][position : position + 2]
        return self._maps[shard][start:stop]

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
    names = [folder / f"{hash_options(tasks=chunk)}.int16" for chunk in chunks]
    missing = [
        n for n, name in enumerate(names) if not (name.exists() and name.with_suffix(".json").exists())
    ]
    if missing:
        progress = tqdm(total=sum(len(chunks[n]) for n in missing), desc="decode", unit="clip", leave=False)
        with progress, _mapper(_jobs(jobs, progress.total)) as ordered_map:
            for n in missing:
                _decode_shard(ordered_map, chunks[n], names[n], progress)
    sizes = [np.array(json.loads(name.with_suffix(".json").read_text()), dtype=np.int64) for name in names]
    return AudioStore(names, sizes)


class Examples(Dataset):
    """The utterances of a manifest, ready to be collated."""

    def __init__(
        self,
        manifest: Manifest,
        store: AudioStore | None,
        classes: Sequence[str] = (),
        seed: int = 0,
        change_audio: AudioChange | None = None,
        change_text: TextChange | None = None,
        choose_transcript: bool = False,
    ) -> None:
        """`choose_transcript` draws one of `Utterance.transcripts` each time, instead of taking `text`."""
        self.utterances = manifest.utterances
        self.store = store
        self.classes = tuple(classes)
        self.seed = seed
        self.change_audio = change_audio
        self.change_text = change_text
        self.choose_transcript = choose_transcript

    def __len__(self) -> int:
        return len(self.utterances)

    def with_utterances(self, utterances: Sequence[Utterance]) -> "Examples":
        """The same audio with other facts about it, one utterance for each."""
        assert len(utterances) == len(self.utterances)
        changed = copy.copy(self)
        changed.utterances = list(utterances)
        return changed

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds of each utterance; of its speech as estimated from its text where it has no audio."""
        if self.store is not None:
            return self.store.lengths / SAMPLE_RATE
        return np.array([len(u.text or "") / CHARACTERS_PER_SECOND for u in self.utterances])

    def __getitem__(self, draw: Draw) -> tuple[Draw, Utterance, NDArray | None, str]:
        utterance = self.utterances[draw.index]
        generator = np.random.default_rng((self.seed, draw.epoch, draw.index))
        samples = None
        if self.store is not None:
            samples = self.store[draw.index]
            if self.change_audio is not None and samples.size:
                samples = self.change_audio(samples.astype(np.float32) / FULL_SCALE, generator)
        return draw, utterance, samples, self._text(utterance, generator)

    def _text(self, utterance: Utterance, generator: np.random.Generator) -> str:
        text = utterance.text or ""
        if self.choose_transcript and utterance.transcripts:
            source = generator.choice(sorted(utterance.transcripts))
            text = utterance.transcripts[source]
        return self.change_text(text, generator) if self.change_text is not None else text


@dataclass
class Collate:
    """Puts examples together; `tokenize` is the text encoder's, None for a model without one."""

    classes: tuple[str, ...] = ()
    tokenize: Tokenize | None = None

    def __call__(self, examples: list[tuple[Draw, Utterance, NDArray | None, str]]) -> Batch:
        draws, utterances, waveforms, texts = zip(*examples, strict=True)
        has_audio = waveforms[0] is not None
        lengths = torch.tensor([0 if w is None else len(w) for w in waveforms])
        ids, mask = (None, None) if self.tokenize is None else self.tokenize(texts)
        return Batch(
            waveforms=_padded(waveforms) if has_audio else None,
            lengths=lengths,
            token_ids=ids,
            token_mask=mask,
            targets=torch.tensor([_targets(u) for u in utterances], dtype=torch.float32),
            class_shares=torch.tensor([class_shares(u, self.classes) for u in utterances]).reshape(
                len(utterances), len(self.classes)
            ),
            frame_labels=_frame_labels(utterances),
            indices=torch.tensor([draw.index for draw in draws]),
            ids=tuple(u.id for u in utterances),
        )


class DurationBatches:
    """Batches of utterances of similar length, each at most `batch_seconds` long with its padding.

    Utterances are shuffled, sorted within a window of fifty batches, cut into batches, and the batches are
    shuffled: little padding, and still a different set of neighbours in every epoch.
    """

    def __init__(
        self,
        seconds: NDArray[np.float64],
        batch_seconds: float,
        seed: int = 0,
        shuffle: bool = True,
        smallest: int = 1,
    ) -> None:
        """`smallest` is the least number of utterances in a batch, for as many processes."""
        if batch_seconds <= 0:
            raise InputError(f"batch_seconds must be positive, received {batch_seconds}")
        if len(seconds) < smallest:
            raise InputError(f"{len(seconds)} utterances cannot fill one batch over {smallest} processes")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.batch_seconds = batch_seconds
        self.seed = seed
        self.shuffle = shuffle
        self.smallest = smallest

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of one epoch, as positions."""
        if not self.shuffle:
            return self._cut(np.argsort(-self.seconds, kind="stable"))
        generator = np.random.default_rng((self.seed, number))
        order = generator.permutation(len(self.seconds))
        batches = []
        for window in self._windows(order):
            batches += self._cut(window[np.argsort(-self.seconds[window], kind="stable")])
        return [batches[position] for position in generator.permutation(len(batches))]

    def padding(self, number: int = 0) -> float:
        """The share of an epoch's samples that is padding."""
        batches = self.epoch(number)
        padded = sum(self.seconds[batch].max() * len(batch) for batch in batches)
        return float(1 - self.seconds.sum() / padded) if padded else 0.0

    def _windows(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        ends = np.cumsum(self.seconds[order]) // (WINDOW * self.batch_seconds)
        return np.split(order, np.flatnonzero(np.diff(ends)) + 1)

    def _cut(self, order: NDArray[np.int64]) -> list[list[int]]:
        """Cut a run of utterances, longest first, into batches."""
        batches: list[list[int]] = []
        current: list[int] = []
        for index in order.tolist():
            longest = self.seconds[current[0]] if current else self.seconds[index]
            is_full = longest * (len(current) + 1) > self.batch_seconds and len(current) >= self.smallest
            if current and is_full:
                batches.append(current)
                current = []
            current.append(index)
        if batches and len(current) < self.smallest:
            batches[-1] += current
        elif current:
            batches.append(current)
        return batches


def loader(
    examples: Examples,
    collate: Collate,
    batches: list[list[int]],
    epoch: int = 0,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> DataLoader:
    """This process's share of the given batches; neighbours in length go to different processes."""
    draws = [[Draw(index, epoch) for index in batch[rank::processes]] for batch in batches]
    return DataLoader(
        examples,
        batch_sampler=draws,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
    )


def class_shares(utterance: Utterance, classes: Sequence[str]) -> list[float]:
    """Shares of votes for `classes`; NaN throughout if the utterance has no label among them."""
    if utterance.emotion_probs:
        shares = [utterance.emotion_probs.get(name, 0.0) for name in classes]
    else:
        shares = [float(utterance.emotion == name) for name in classes]
    total = sum(shares)
    return [share / total for share in shares] if total > 0 else [float("nan")] * len(shares)


def _task(manifest: Manifest, utterance: Utterance) -> list[Any]:
    """What to decode, and what shows that a file has changed since."""
    if utterance.audio is None:
        return []
    path = manifest.audio_path(utterance)
    status = path.stat()
    return [os.fspath(path.resolve()), status.st_size, status.st_mtime_ns, utterance.start, utterance.end]


def _jobs(jobs: int | None, tasks: int) -> int:
    return max(1, min(jobs or os.cpu_count() or 1, tasks // CLIPS_WORTH_A_PROCESS))


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
    return np.rint(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)


def _decode_shard(ordered_map: Callable, tasks: list[list[Any]], path: Path, progress: tqdm) -> None:
    problems, sizes = [], []
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for samples in ordered_map(_decode_task, tasks):
            progress.update()
            if isinstance(samples, str):
                problems.append(samples)
                continue
            sizes.append(len(samples))
            file.write(samples.tobytes())
        if problems:
            shown = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
            raise InputError(
                f"{len(problems)} audio files cannot be decoded{shown}\n"
                "`multimodal-ser prepare --verify-audio` leaves such files out of the manifest and lists them"
            )
    write_json(path.with_suffix(".json"), sizes)


def _padded(waveforms: Sequence[NDArray]) -> Tensor:
    longest = max(1, *(len(w) for w in waveforms)) if waveforms else 1
    rows = np.zeros((len(waveforms), longest), dtype=waveforms[0].dtype)
    for row, waveform in zip(rows, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return torch.from_numpy(rows)


def _targets(utterance: Utterance) -> list[float]:
    values = (getattr(utterance, name) for name in DIMENSIONS)
    return [float("nan") if value is None else value for value in values]


def _frame_labels(utterances: Sequence[Utterance]) -> Tensor | None:
    rows = [u.frame_labels for u in utterances]
    if any(row is None for row in rows):
        return None
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True, padding_value=-1
    )


def iterate(batches: DataLoader, device: torch.device | str) -> Iterator[Batch]:
    """Batches on a device."""
    for batch in batches:
        yield batch.to(device)
