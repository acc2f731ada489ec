"""A teacher: an encoder that is listened to and never trained, and its states at the frames of a student.

It is no part of the objective's state: neither checkpoints nor optimiser nor other processes know of it.

Its states are computed on the fly, or kept in a folder and found again by what was heard: the teacher's
weights, the layers, the samples of the clip. They are kept as they are, in single precision: 1.2 MB for eight
seconds of one layer of HuBERT Base. Changed audio is another clip.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from multimodal_ser.cache import atomic_path, hash_bytes
from multimodal_ser.models.encoding import AudioEncoder, Encoding, fingerprint, mask_from_lengths


class Teacher:
    """A frozen encoder, on whatever device its batches are."""

    def __init__(
        self, encoder: AudioEncoder, layers: Sequence[int] = (), kept_in: str | os.PathLike | None = None
    ) -> None:
        """layers: those that are wanted, 0 is below the blocks. kept_in: the folder that keeps them."""
        self.encoder = encoder.eval().requires_grad_(False)
        self.layers = sorted(set(layers)) or list(range(encoder.num_layers + 1))
        self.folder = Path(kept_in) if kept_in else None
        self._name = fingerprint(encoder, repr(self.layers).encode()).encode() if kept_in else b""

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, lengths: Tensor) -> Encoding:
        """An encoding up to the last wanted layer; where states are kept, all unwanted ones are empty."""
        if self.folder is None:
            return self._heard(waveforms, lengths)
        paths = [self._path(wave[:length]) for wave, length in zip(waveforms, lengths.tolist(), strict=True)]
        if missing := [row for row, path in enumerate(paths) if not path.is_file()]:
            self._keep(waveforms[missing], lengths[missing], [paths[row] for row in missing])
        return self._found(paths, waveforms.device)

    def _heard(self, waveforms: Tensor, lengths: Tensor) -> Encoding:
        return self.encoder.to(waveforms.device)(waveforms, lengths, self.layers[-1])

    def _path(self, wave: Tensor) -> Path:
        name = hash_bytes(self._name, wave.float().cpu().contiguous().numpy().tobytes())
        return self.folder / name[:2] / f"{name}.safetensors"

    def _keep(self, waveforms: Tensor, lengths: Tensor, paths: Sequence[Path]) -> None:
        told = self._heard(waveforms, lengths)
        for row, path in enumerate(paths):
            frames = int(told.mask[row].sum())
            states = {
                str(layer): told.layers[layer][row, :frames].float().cpu().contiguous()
                for layer in self.layers
            }
            with atomic_path(path) as temporary:
                save_file(states, temporary)

    def _found(self, paths: Sequence[Path], device: torch.device) -> Encoding:
        clips = [load_file(path) for path in paths]
        counts = torch.tensor([len(clip[str(self.layers[0])]) for clip in clips])
        unwanted = torch.zeros(len(clips), int(counts.max()), 0)
        layers = [unwanted] * (self.layers[-1] + 1)
        for layer in self.layers:
            rows = [clip[str(layer)] for clip in clips]
            layers[layer] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = mask_from_lengths(counts, int(counts.max()))
        placed = tuple(x.to(device) for x in layers)
        return Encoding(placed, mask.to(device), self.encoder.frame_rate)


def at_frames(told: Encoding, layer: int, frames: int, frame_rate: float) -> Tensor:
    """One layer (B, frames, D) at frames of another rate, by linear interpolation in time.

    The first frames of both are taken to stand at the same time; behind its end a clip keeps its last frame.
    """
    states = told.layers[layer]
    if told.frame_rate == frame_rate and states.shape[1] == frames:
        return states
    last = told.mask.sum(1, keepdim=True).clamp(min=1) - 1
    place = torch.arange(frames, device=states.device) * (told.frame_rate / frame_rate)
    place = torch.minimum(place.expand(len(states), frames), last)
    below = place.floor().long()
    share = (place - below).to(states.dtype)[..., None]
    return _taken(states, below) * (1 - share) + _taken(states, torch.minimum(below + 1, last)) * share


def _taken(states: Tensor, places: Tensor) -> Tensor:
    return states.gather(1, places[..., None].expand(-1, -1, states.shape[2]))
