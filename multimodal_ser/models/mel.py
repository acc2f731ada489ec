"""A small encoder on log-mel bands, for small machines and as a student of larger encoders.

Waveform (B, S) at 16 kHz, 10 ms log-mel frames, two strided convolutions to 40 ms frames, a convolutional
position code, pre-norm transformer blocks. The convolutional front end of HuBERT is 70 % of
DistilHuBERT's cost; a spectrogram is nearly free.

Nothing here looks beyond the end of a clip: frames that are not wholly inside it do not exist, padded
frames are zeroed before every convolution and masked in attention. So a clip in a padded batch equals the
clip alone. A clip shorter than a window (400 samples, 25 ms) counts as padded with zeros to that length and
has one frame; an empty clip has none.

With `normalise_level` a clip loses its offset and is scaled to unit power before its spectrogram is taken,
so that recording gain does not look like loudness. With `speech_level` too it is the power of the frames
above a relative gate that becomes 1, as in ITU-R BS.1770, and silence in front of a clip moves behind it,
so that frames begin where the sound does: pauses and silence then hardly matter. Times are not kept.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models.encoding import AudioEncoder, Encoding, mask_from_lengths
from multimodal_ser.models.transformer import Attention, Block

SAMPLE_RATE = 16_000  # samples per second
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FFT = 512  # points
STRIDE = 4  # spectrogram frames per encoder frame: two convolutions of stride 2
LOWEST, HIGHEST = 50.0, 7_600.0  # hertz, edges of the mel bands
POSITION_KERNEL = 31  # encoder frames that the position code sees: 1.24 s
_FLOOR = 1e-4  # power added before the logarithm, relative to a clip of unit power
_SILENCE = 1e-8  # power below which a clip is not scaled up
_QUIET = 1e-3  # amplitude relative to a clip's peak (-60 dB) below which it has not begun
_GATE = 0.1  # frames with less than this share of the mean power (-10 dB) do not count for the speech level


@dataclass(frozen=True)
class MelConfig:
    """The size of a log-mel encoder."""

    bands: int = 64
    width: int = 128
    blocks: int = 4
    heads: int = 4
    feedforward: int = 384
    dropout: float = 0.1
    normalise_level: bool = True
    speech_level: bool = False  # of frames with speech, rather than of the whole clip

    def __post_init__(self) -> None:
        if self.speech_level and not self.normalise_level:
            raise InputError("log-mel encoder: speech_level needs normalise_level, which is false")
        for name in ("bands", "width", "heads", "feedforward"):
            if getattr(self, name) < 1:
                raise InputError(f"log-mel encoder: {name} = {getattr(self, name)}; it must be 1 or more")
        if self.blocks < 0:
            raise InputError(f"log-mel encoder: blocks = {self.blocks}; it must be 0 or more")
        if self.width % self.heads:
            raise InputError(f"log-mel encoder: width {self.width} is no multiple of its {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise InputError(f"log-mel encoder: dropout = {self.dropout}; it must be from 0 to below 1")


def mel_filters(bands: int) -> Tensor:
    """Triangular filters (bands, FFT / 2 + 1), each of unit area in bins, evenly spaced on the mel scale."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges_mel = torch.linspace(mel(LOWEST), mel(HIGHEST), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    bins = torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp(min=0)
    # Narrow low bands can fall between two bins; they then take the nearest bin instead of nothing.
    empty = filters.sum(1) == 0
    nearest = (bins[None] - edges[1:-1, None]).abs().argmin(1)
    filters[empty, nearest[empty]] = 1.0
    return (filters / filters.sum(1, keepdim=True)).float()


class LogMel(nn.Module):
    """Log-mel bands of the frames that lie wholly inside each clip."""

    def __init__(self, bands: int, normalise_level: bool, speech_level: bool = False) -> None:
        super().__init__()
        self.normalise_level = normalise_level
        self.speech_level = speech_level
        self.register_buffer("filters", mel_filters(bands), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """10 ms frames (B,) of clips with `lengths` (B,) samples."""
        whole = (lengths - WINDOW).div(HOP, rounding_mode="floor") + 1
        return whole.clamp(min=1).where(lengths > 0, 0)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """waveforms: (B, S), lengths: (B,), result: (B, F, bands) single precision, padded frames zero."""
        # Half precision overflows on a click in a quiet clip, and has no digits for what is quiet beside it.
        with torch.autocast(waveforms.device.type, enabled=False):
            waveforms = self._prepare(waveforms.float(), lengths)
            spectrum = torch.fft.rfft(waveforms.unfold(1, WINDOW, HOP) * self.window.float(), FFT)
            # Hann's mean power is 3/8: with this divisor white noise of unit power has power 1 in every bin.
            power = (spectrum.real.square() + spectrum.imag.square()) / (WINDOW * 3 / 8)
            mask = mask_from_lengths(self.frame_lengths(lengths), power.shape[1])
            if self.speech_level:
                power = power / _speech_power(power.mean(2), mask).clamp(min=_SILENCE)[:, None, None]
            bands = torch.log(power @ self.filters.float().T + _FLOOR)
        return bands * mask[..., None]

    def _prepare(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Zero mean and unit power if wanted, silence behind the end, room for one frame."""
        padding = ~mask_from_lengths(lengths, waveforms.shape[1])
        waveforms = waveforms.masked_fill(padding, 0)
        if self.speech_level and waveforms.shape[1]:
            waveforms = _from_first_sound(waveforms)
        if self.normalise_level:
            count = lengths.clamp(min=1)[:, None]
            mean = waveforms.sum(1, keepdim=True) / count
            waveforms = (waveforms - mean).masked_fill(padding, 0)
            power = waveforms.square().sum(1, keepdim=True) / count
            waveforms = waveforms / power.clamp(min=_SILENCE).sqrt()
        return F.pad(waveforms, (0, max(0, WINDOW - waveforms.shape[1])))


def _from_first_sound(waveforms: Tensor) -> Tensor:
    """Each row (B, S) from its first sample that is not silence, with as many zeros behind as are skipped."""
    size = waveforms.abs()
    first = (size > _QUIET * size.amax(1, keepdim=True)).float().argmax(1, keepdim=True)
    places = torch.arange(waveforms.shape[1], device=waveforms.device) + first
    moved = waveforms.gather(1, places.clamp(max=waveforms.shape[1] - 1))
    return moved.masked_fill(places >= waveforms.shape[1], 0)


def _speech_power(power: Tensor, mask: Tensor) -> Tensor:
    """The mean power (B,) of those frames (B, F) that are not much quieter than the mean of all."""
    mean = (power * mask).sum(1) / mask.sum(1).clamp(min=1)
    loud = mask & (power >= _GATE * mean[:, None])
    return (power * loud).sum(1) / loud.sum(1).clamp(min=1)


class MelEncoder(AudioEncoder):
    """Log-mel bands, two strided convolutions, a position code and transformer blocks."""

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / HOP / STRIDE

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.num_layers = config.blocks
        self.log_mel = LogMel(config.bands, config.normalise_level, config.speech_level)
        self.subsample = nn.ModuleList(
            [
                nn.Conv1d(config.bands, config.width, kernel_size=3, stride=2, padding=1),
                nn.Conv1d(config.width, config.width, kernel_size=3, stride=2, padding=1),
            ]
        )
        self.norm = nn.LayerNorm(config.width)
        self.position = nn.Conv1d(
            config.width, config.width, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=config.width
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.feedforward, config.dropout)
            for _ in range(config.blocks)
        )

    @classmethod
    def from_config(cls, config: MelConfig | dict[str, Any]) -> "MelEncoder":
        """An untrained encoder."""
        if not isinstance(config, MelConfig):
            known = list(asdict(MelConfig()))
            if unknown := [name for name in config if name not in known]:
                raise InputError(
                    f"log-mel encoder: unknown setting '{unknown[0]}'{nearest(unknown[0], known)}; "
                    f"known: {', '.join(known)}"
                )
            config = MelConfig(**config)
        return cls(config)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return _halved(_halved(self.log_mel.frame_lengths(lengths)))

    def freeze_front_end(self) -> None:
        for module in (self.subsample, self.norm, self.position):
            module.requires_grad_(False)

    def attention(self, block: int) -> Attention:
        return self.blocks[block - 1].attention

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        bands = self.log_mel(waveforms, lengths)
        return self.forward_from_bands(bands, self.log_mel.frame_lengths(lengths), last_layer)

    def forward_from_bands(
        self, bands: Tensor, frame_lengths: Tensor, last_layer: int | None = None
    ) -> Encoding:
        """The same from log-mel frames (B, F, bands), of which `frame_lengths` (B,) are valid."""
        count = self.blocks_to_run(last_layer)
        frames = frame_lengths
        padding = ~mask_from_lengths(frames, bands.shape[1])
        x = bands.to(self.norm.weight.dtype).masked_fill(padding[..., None], 0).transpose(1, 2)
        for convolution in self.subsample:
            frames = _halved(frames)
            x = F.gelu(convolution(x))
            x = x * mask_from_lengths(frames, x.shape[2])[:, None]
        mask = mask_from_lengths(frames, x.shape[2])
        x = self.norm(x.transpose(1, 2)) * mask[..., None]
        x = x + F.gelu(self.position(x.transpose(1, 2))).transpose(1, 2)
        x = self.dropout(x)
        layers = [x]
        # A clip without a valid frame attends everywhere: its output means nothing, but must not be NaN.
        heard = mask | ~mask.any(1, keepdim=True)
        for block in self.blocks[:count]:
            x = block(x, heard)
            layers.append(x)
        return Encoding(tuple(layers), mask, self.frame_rate)


def _halved(frames: Tensor) -> Tensor:
    """Frames behind a convolution of kernel 3, stride 2, padding 1."""
    return (frames + 1).div(2, rounding_mode="floor")
