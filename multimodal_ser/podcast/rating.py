"""What a model says of segments whose sound and words are known: `Rater`.

On a CPU each segment is heard alone and unpadded by one thread, as many at once as there are cores, and the
texts of so many segments of an episode are read at once. So an episode's values do not depend on how many
workers there are, nor on other episodes; on a segment's neighbours in it they depend by rounding alone. On a
GPU neighbours of like length share a batch.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.choice import load
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.cache import hash_file
from multimodal_ser.inference import CALIBRATION, chosen_device, model_folder
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.models.fusion import Branch
from multimodal_ser.models.ser import SETTINGS, Encoded
from multimodal_ser.podcast.timeline import NO_WORDS, UNTRUSTED, Scored, Values
from multimodal_ser.transcripts.cues import Cue

GPU_GROUP, GPU_SECONDS = 64, 240.0  # segments sorted by length together; seconds of audio in one batch
READ_AT_ONCE = 32  # texts, on a CPU
Sound = NDArray[np.float32]
Judged = tuple[Cue, str, tuple[str, ...]]  # a segment, the source of its words if they are read, its flags


class Rater:
    """A model, loaded once."""

    def __init__(
        self, model: str | os.PathLike, *, device: str = "auto", threads: int = 1, backend: str = REFERENCE
    ) -> None:
        self.folder = model_folder(model)
        if chosen_device(device).type == "cpu":
            torch.set_num_threads(1)  # segments run side by side instead; runtimes take this number too
        self.predictor, self.backend = load(self.folder, backend, device)
        self.threads = max(1, threads)

    @property
    def identity(self) -> dict[str, Any]:
        """What values depend on, beside sound and words."""
        calibration = self.folder / CALIBRATION
        return {
            "model": self.predictor.name,
            "backend": self.backend.backend,
            "settings": hash_file(self.folder / SETTINGS),
            "calibration": hash_file(calibration) if calibration.is_file() else None,
        }

    @property
    def folders(self) -> list[Path]:
        """Of the models that rate."""
        return [self.folder]

    @property
    def wants_sound(self) -> bool:
        return self.predictor.model.audio is not None

    def rated(self, judged: Sequence[Judged], sounds: Iterable[Sound | None]) -> Iterator[Scored]:
        """Each segment with its values, in order."""
        texts = ["" if source in (UNTRUSTED, NO_WORDS) else cue.text for cue, source, _ in judged]
        for (segment, source, flags), values in zip(judged, self._values(sounds, texts), strict=True):
            yield self._scored(segment, source, flags, values)

    def _values(self, sounds: Iterable[Sound | None], texts: Sequence[str]) -> Iterator[dict[str, NDArray]]:
        """Per segment the values of each reading, (3,) each."""
        if self.predictor.device.type == "cpu":
            yield from self._side_by_side(zip(sounds, self._words(texts), strict=True))
            return
        pairs = zip(sounds, texts, strict=True)
        while group := list(islice(pairs, GPU_GROUP)):
            yield from self._batched(group)

    def _side_by_side(self, pairs: Iterable[tuple]) -> Iterator[dict[str, NDArray]]:
        """Each heard alone, in `threads` threads, in order; a few are held at any time."""
        if self.threads == 1:
            yield from (self._heard(*pair) for pair in pairs)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: list = []
            for pair in pairs:
                waiting.append(pool.submit(self._heard, *pair))
                if len(waiting) > 2 * self.threads:
                    yield waiting.pop(0).result()
            yield from (future.result() for future in waiting)

    def _words(self, texts: Sequence[str]) -> Iterator[Branch | None]:
        """The text branch of each segment, if the model has one; read when the first of a group is wanted."""
        if self.predictor.model.text is None:
            yield from [None] * len(texts)
            return
        for first in range(0, len(texts), READ_AT_ONCE):
            yield from self._read(texts[first : first + READ_AT_ONCE])

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[Branch]:
        model = self.predictor.model
        states, mask, present = model.encode_text(*model.text.tokenize(texts))
        sizes = mask.sum(1).tolist()
        return [
            Branch(states[n : n + 1, :size], mask[n : n + 1, :size], present[n : n + 1])
            for n, size in enumerate(sizes)
        ]

    @torch.inference_mode()
    def _heard(self, sound: Sound | None, words: Branch | None) -> dict[str, NDArray]:
        """Values of all readings for one segment."""
        heard = None
        if self.predictor.model.audio is not None:
            heard = self.predictor.model.encode_audio(
                torch.from_numpy(sound)[None], torch.tensor([len(sound)])
            )
        return {name: rows[0] for name, rows in self._said(Encoded(heard, words)).items()}

    def _batched(self, group: list[tuple]) -> list[dict[str, NDArray]]:
        order = sorted(range(len(group)), key=lambda n: 0 if group[n][0] is None else -len(group[n][0]))
        found: dict[int, dict[str, NDArray]] = {}
        while order:
            longest = 1 if group[order[0]][0] is None else len(group[order[0]][0]) / SAMPLE_RATE
            count = max(1, int(GPU_SECONDS / longest))
            chosen, order = order[:count], order[count:]
            found |= zip(chosen, self._run([group[n] for n in chosen]), strict=True)
        return [found[n] for n in range(len(group))]

    @torch.inference_mode()
    def _run(self, pairs: Sequence[tuple[Sound | None, str]]) -> list[dict[str, NDArray]]:
        """Values of all readings for segments in one batch."""
        model, device = self.predictor.model, self.predictor.device
        waveforms = lengths = ids = mask = None
        if model.audio is not None:
            lengths = torch.tensor([len(sound) for sound, _ in pairs])
            waveforms = torch.zeros(len(pairs), int(lengths.max()))
            for row, (sound, _) in enumerate(pairs):
                waveforms[row, : len(sound)] = torch.from_numpy(sound)
            waveforms, lengths = waveforms.to(device), lengths.to(device)
        if model.text is not None:
            ids, mask = (part.to(device) for part in model.text.tokenize([text for _, text in pairs]))
        values = self._said(model.encode(waveforms, lengths, ids, mask))
        return [{name: rows[n] for name, rows in values.items()} for n in range(len(pairs))]

    def _said(self, encoded: Encoded) -> dict[str, NDArray]:
        """(B, 3) of each reading."""
        model = self.predictor.model
        return {name: model.read(encoded, name).dimensions.float().cpu().numpy() for name in model.readings}

    def _scored(
        self, segment: Cue, source: str, flags: tuple[str, ...], values: dict[str, NDArray]
    ) -> Scored:
        has_words = source not in (UNTRUSTED, NO_WORDS)
        readings = self.predictor.model.readings
        used = readings[0] if has_words or "audio" not in readings else "audio"
        if not has_words and "audio" not in readings:
            values = {}  # a model of words alone has nothing to say without any
        dimensions = {}
        for column, name in enumerate(DIMENSIONS):
            known = {reading: float(rows[column]) for reading, rows in values.items()}
            fused = known.get(used)
            low = high = None
            if fused is not None and np.isfinite(self.predictor.radius(used, name)):
                low, high = map(float, self.predictor.interval(used, name, np.float64(fused)))
            dimensions[name] = Values(
                fused, known.get("audio"), known.get("text") if has_words else None, low, high
            )
        start, end = round(segment.start, 3), round(segment.end, 3)
        return Scored(start, end, segment.text, segment.speaker, dimensions, source, flags)

    def about(self) -> dict[str, Any]:
        """What results say of the model."""
        calibration, folder = self.predictor.calibration, self.folder.absolute()
        return {
            "name": folder.name if folder.name != "model" else folder.parent.name,
            "hash": self.predictor.name,
            "readings": list(self.predictor.model.readings),
            "interval_coverage": None if calibration is None else calibration["coverage"],
        }
