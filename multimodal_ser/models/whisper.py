"""The encoder of Whisper (arXiv 2212.04356) as an audio encoder; where Whisper transcribes, its cost is paid.

Whisper hears windows of exactly 30 s: shorter ones are filled with silence, and the loudest point of the
window sets the floor of its log-mel spectrogram. We keep that. A clip is cut into windows of 30 s from its
start, each is encoded as Whisper would, and the states are joined and cut to the clip's length, so nothing is
dropped and the batch has no influence on a clip. States near the end of a clip attend to the silence behind
it, as in Whisper itself. `window_seconds` below 30 makes windows, filling and positions shorter: cheaper for
short clips, but no longer what Whisper was trained on.

Departure: no block is dropped at random in training. `layers[-1]` of a full pass is behind the final layer
norm. Frames last 20 ms; a clip has as many as it takes to cover it. Shapes: B clips, S samples, N windows,
T frames, D width; log-mel (N, bins, 10-ms steps).
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperNetwork
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder, Encoding, load_strictly, mask_from_lengths
from multimodal_ser.models.pretrained import find_pretrained, read_settings, read_weights

DEFAULT_CHECKPOINT = "openai/whisper-base"
SAMPLE_RATE = 16_000  # samples per second
FFT_SIZE, HOP = 400, 160  # samples: 25 ms and 10 ms
HOPS_PER_FRAME = 2  # stride of the second convolution
FRAME = HOP * HOPS_PER_FRAME  # samples per frame of the encoder: 20 ms
HIGHEST_FREQUENCY = SAMPLE_RATE / 2  # Hz
LOG_FLOOR = 1e-10  # power
LOG_RANGE = 8.0  # decades below the loudest point of a window that are kept
PREFIXES = ("model.encoder.", "encoder.")  # of the encoder's weights in published checkpoints
DECODER = re.compile(r"(model\.)?decoder\.|proj_out\.")  # the rest of them

# transformers 4 wants one argument more of a block, 5 no longer has it.
_NO_HEAD_MASK = (None,) * ("layer_head_mask" in inspect.signature(WhisperEncoderLayer.forward).parameters)


@dataclass(frozen=True)
class WhisperEncoderConfig:
    """What `WhisperEncoder` is made from."""

    network: dict[str, Any] = field(hash=False)  # transformers' own config.json
    window_seconds: float = 30.0
    frozen_front_end: bool = True  # the two convolutions take no gradient


class WhisperEncoder(AudioEncoder):
    """Whisper's encoder, every layer out."""

    config: WhisperEncoderConfig
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / FRAME

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        if (family := config.network.get("model_type")) != "whisper":
            raise InputError(f"model_type is {family!r}; this encoder reads whisper")
        settings = WhisperConfig.from_dict(dict(config.network))
        self.network = WhisperNetwork._from_config(settings, attn_implementation="sdpa")
        self.log_mel = LogMel(settings.num_mel_bins)
        self.config = replace(config, network=settings.to_dict())
        self.width = settings.d_model
        self.num_layers = settings.encoder_layers
        self.window_frames = _window_frames(config.window_seconds, settings.max_source_positions)
        if config.frozen_front_end:
            self.freeze_front_end()

    @classmethod
    def from_config(cls, config: WhisperEncoderConfig | Mapping[str, Any]) -> "WhisperEncoder":
        """Random weights at the sizes of `config` (or of its fields, as read from JSON)."""
        return cls(config if isinstance(config, WhisperEncoderConfig) else WhisperEncoderConfig(**config))

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str = DEFAULT_CHECKPOINT,
        *,
        window_seconds: float = 30.0,
        frozen_front_end: bool = True,
        revision: str | None = None,
    ) -> "WhisperEncoder":
        """Load the encoder of a checkpoint; any weight of it that is missing or left over is an error."""
        folder = find_pretrained(str(name_or_folder), revision)
        encoder = cls(WhisperEncoderConfig(read_settings(folder), window_seconds, frozen_front_end))
        weights = _encoder_weights(read_weights(folder))
        load_strictly(encoder.network, weights, f"the weights in {folder}")
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint folder of the encoder alone, for `from_pretrained` here."""
        self.network.save_pretrained(folder)
        WhisperFeatureExtractor(feature_size=self.network.config.num_mel_bins).save_pretrained(folder)

    def freeze_front_end(self) -> None:
        for convolution in (self.network.conv1, self.network.conv2):
            convolution.requires_grad_(False)
        self.config = replace(self.config, frozen_front_end=True)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths + FRAME - 1, FRAME, rounding_mode="floor")

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        count = self.blocks_to_run(last_layer)
        samples = waveforms.shape[1]
        windows, is_heard = self._cut(waveforms, lengths)
        layers = self._run(self.log_mel(windows[is_heard]), count)
        frames = -(-samples // FRAME)
        joined = tuple(self._join(layer, is_heard, frames) for layer in layers)
        return Encoding(joined, mask_from_lengths(self.frame_lengths(lengths), frames), self.frame_rate)

    def _cut(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Windows (B, N, samples), silent behind the end of a clip, and which of them are to be encoded.

        Those that hold any of the clip, and the first of an empty clip, so that there always is one.
        """
        size = self.window_frames * FRAME
        count = max(1, -(-waveforms.shape[1] // size))
        waveforms = waveforms.masked_fill(~mask_from_lengths(lengths, waveforms.shape[1]), 0)
        waveforms = F.pad(waveforms, (0, count * size - waveforms.shape[1]))
        starts = torch.arange(count, device=lengths.device) * size
        return waveforms.view(len(waveforms), count, size), starts < lengths.clamp(min=1)[:, None]

    def _run(self, mel: Tensor, count: int) -> list[Tensor]:
        """All states of windows (N, bins, steps), each (N, frames, D)."""
        network = self.network
        hidden = F.gelu(network.conv1(mel.to(network.conv1.weight.dtype)))
        hidden = F.gelu(network.conv2(hidden)).transpose(1, 2)
        hidden = hidden + network.embed_positions.weight[: self.window_frames]
        layers = [F.dropout(hidden, network.dropout, self.training)]
        for block in network.layers[:count]:
            output = block(layers[-1], None, *_NO_HEAD_MASK)
            layers.append(output[0] if isinstance(output, tuple) else output)
        if count == self.num_layers:
            layers[-1] = network.layer_norm(layers[-1])
        return layers

    def _join(self, states: Tensor, is_heard: Tensor, frames: int) -> Tensor:
        """States of the heard windows, put one behind the other per clip: (B, frames, D)."""
        joined = states.new_zeros(*is_heard.shape, *states.shape[1:])
        joined[is_heard] = states
        return joined.flatten(1, 2)[:, :frames]


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram of waveforms (N, samples): (N, bins, samples / 160), about -1..1.5."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=FFT_SIZE // 2 + 1, num_mel_filters=bins, min_frequency=0.0,
            max_frequency=HIGHEST_FREQUENCY, sampling_rate=SAMPLE_RATE, norm="slaney", mel_scale="slaney",
        )  # fmt: skip
        self.register_buffer("filters", torch.from_numpy(filters.T).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT_SIZE), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        # Half precision would lose the quiet bins, ten decades below the loud ones.
        with torch.autocast(waveforms.device.type, enabled=False):
            spectrum = torch.stft(
                waveforms.float(), FFT_SIZE, HOP, window=self.window.float(), return_complex=True
            )
            power = spectrum[..., :-1].abs().square()
            mel = (self.filters.float() @ power).clamp(min=LOG_FLOOR).log10()
            loudest = mel.amax(dim=(1, 2), keepdim=True)
            return (mel.maximum(loudest - LOG_RANGE) + 4.0) / 4.0


def _window_frames(seconds: float, positions: int) -> int:
    frames = round(seconds * SAMPLE_RATE / FRAME)
    longest = positions * FRAME / SAMPLE_RATE
    if not 1 <= frames <= positions:
        raise InputError(
            f"window_seconds={seconds}, but Whisper has positions for more than 0 and up to {longest:g} s"
        )
    return frames


def _encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, weight in weights.items():
        if DECODER.match(name):
            continue
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        renamed[name] = weight
    return renamed
