"""From manifests to batches: a dataset over decoded audio, and batches of what it holds.

B, S, L: utterances, samples, tokens. Audio is 16 kHz mono. Everything random about an utterance is drawn
from (seed, epoch, index), so that it does not depend on workers, processes, or where a run was
interrupted.
"""

import copy
import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.audio_store import FULL_SCALE, AudioStore
from multimodal_ser.cache import HASH_LENGTH
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.utterances import FIELDS, Utterance

CHARACTERS_PER_SECOND = 15.0  # of English speech; sizes batches where there is no audio

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
    frame_labels: Tensor | None  # (B, T) class per frame, -1 = behind the end or not labelled
    indices: Tensor  # (B,) positions in the dataset
    ids: tuple[str, ...]
    # (B, T, C) of a frozen front end, in the place of waveforms; then `lengths` are frames
    features: Tensor | None = None

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
        longest = max(int(batch.lengths.max()), 1)
        cut = {
            name: x[:, :longest]
            for name in ("waveforms", "features")
            if (x := getattr(batch, name)) is not None
        }
        return batch._replace(**cut)

    @property
    def size(self) -> int:
        """B."""
        return len(self.ids)


class Draw(NamedTuple):
    """One utterance, to be drawn in one epoch."""

    index: int
    epoch: int


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
        self.features: AudioStore | None = None  # a `front_end_store.FeatureStore`

    def __len__(self) -> int:
        return len(self.utterances)

    def with_utterances(self, utterances: Sequence[Utterance]) -> "Examples":
        """The same audio with other facts about it, one utterance for each."""
        assert len(utterances) == len(self.utterances)
        changed = copy.copy(self)
        changed.utterances = list(utterances)
        return changed

    def with_features(self, features: AudioStore) -> "Examples":
        """The same utterances, heard through a front end whose output is kept."""
        assert len(features) == len(self.utterances)
        changed = copy.copy(self)
        changed.features = features
        return changed

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds of each utterance; of its speech as estimated from its text where it has no audio."""
        spoken = np.array([len(u.text or "") / CHARACTERS_PER_SECOND for u in self.utterances])
        if self.store is None:
            return spoken
        return np.where(self.store.lengths > 0, self.store.lengths / SAMPLE_RATE, spoken)

    @property
    def sound_seconds(self) -> list[float] | None:
        """Seconds of sound of each utterance, 0 where there is none; None for a model that does not hear."""
        return None if self.store is None else (self.store.lengths / SAMPLE_RATE).tolist()

    def __getitem__(self, draw: Draw) -> tuple[Draw, Utterance, NDArray | None, str]:
        utterance = self.utterances[draw.index]
        generator = np.random.default_rng((self.seed, draw.epoch, draw.index))
        samples = None
        if self.features is not None:
            samples = self.features[draw.index]
        elif self.store is not None:
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
        is_encoded = isinstance(waveforms[0], Tensor)
        has_audio = waveforms[0] is not None and not is_encoded
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
            features=_padded_features(waveforms) if is_encoded else None,
        )


class Feed:
    """This process's share of batches, epoch after epoch; its worker processes stay from one to the next.

    Starting one takes seconds: it has to import everything that the tokenizer needs.
    """

    def __init__(
        self, examples: Examples, collate: Collate, rank: int = 0, processes: int = 1, workers: int = 0
    ) -> None:
        self.rank = rank
        self.processes = processes
        self._draws: list[list[Draw]] = []
        self._loader = DataLoader(
            examples,
            batch_sampler=self._draws,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_ignore_interrupts if workers else None,
            # Without one of its own, every epoch takes a number from those that dropout draws from, and a
            # resumed run, which begins an epoch once more, would go another way.
            generator=torch.Generator(),
        )

    def __call__(self, batches: list[list[int]], epoch: int = 0) -> DataLoader:
        """The given batches; neighbours in length go to different processes."""
        mine = [batch[self.rank :: self.processes] for batch in batches]
        assert all(mine), "a batch has fewer utterances than there are processes"
        self._draws[:] = [[Draw(index, epoch) for index in batch] for batch in mine]
        return self._loader


def loader(
    examples: Examples,
    collate: Collate,
    batches: list[list[int]],
    epoch: int = 0,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> DataLoader:
    """The same, for one epoch."""
    return Feed(examples, collate, rank, processes, workers)(batches, epoch)


def class_shares(utterance: Utterance, classes: Sequence[str]) -> list[float]:
    """Shares of votes for `classes`; NaN throughout if the utterance has no label among them."""
    if utterance.emotion_probs:
        shares = [utterance.emotion_probs.get(name, 0.0) for name in classes]
    else:
        shares = [float(utterance.emotion == name) for name in classes]
    total = sum(shares)
    return [share / total for share in shares] if total > 0 else [float("nan")] * len(shares)


def iterate(batches: DataLoader, device: torch.device | str) -> Iterator[Batch]:
    """Batches on a device."""
    for batch in batches:
        yield batch.to(device)


def hash_utterances(*sets: Sequence[Utterance]) -> str:
    """A short hash of everything that manifests say about some utterances, their order included."""
    digest = hashlib.sha256()
    for utterances in sets:
        for utterance in utterances:
            record = [getattr(utterance, name) for name in FIELDS]
            digest.update(json.dumps(record, sort_keys=True).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()[:HASH_LENGTH]


def _ignore_interrupts(_: int) -> None:
    """Ctrl-C reaches worker processes too; the main process stops them, once it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _padded(waveforms: Sequence[NDArray]) -> Tensor:
    longest = max(1, *(len(w) for w in waveforms))
    # Changed audio is float, an utterance without audio is not changed: a batch may hold both.
    rows = np.zeros((len(waveforms), longest), dtype=np.result_type(*{w.dtype for w in waveforms}))
    for row, waveform in zip(rows, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return torch.from_numpy(rows)


def _padded_features(rows: Sequence[Tensor]) -> Tensor:
    longest = max(1, *map(len, rows))  # frames
    return torch.stack([torch.nn.functional.pad(row, (0, 0, 0, longest - len(row))) for row in rows])


def _targets(utterance: Utterance) -> list[float]:
    values = (getattr(utterance, name) for name in DIMENSIONS)
    return [float("nan") if value is None else value for value in values]


def _frame_labels(utterances: Sequence[Utterance]) -> Tensor | None:
    rows = [u.frame_labels for u in utterances]
    if all(row is None for row in rows):
        return None
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row or [], dtype=torch.int64) for row in rows], batch_first=True, padding_value=-1
    )
