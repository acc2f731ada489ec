"""A teacher: an encoder that is listened to and never trained, and its states at the frames of a student.

It is no part of the objective's state: neither checkpoints nor optimiser nor other processes know of it.
"""

import torch
from torch import Tensor

from multimodal_ser.models.encoding import AudioEncoder, Encoding


class Teacher:
    """A frozen encoder, on whatever device its batches are."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.encoder = encoder.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        return self.encoder.to(waveforms.device)(waveforms, lengths, last_layer)


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
