"""Changes to the sound of training clips: speed, pitch, room, noise, gain, codec.

They follow the sound on its way: the voice (speed, pitch), the room, the noise around, the gain of the
microphone, the codec of the recording. Each is made with a probability, by an amount drawn uniformly from
a range; all are off by default. Loud and fast speech is aroused speech, so wide ranges of gain, speed and
pitch change what the label says, not only how it sounds.

Waveforms are (S,) float32 at 16 kHz. Only speed changes S, and then frame labels no longer fit. Nothing is
clipped: a clip whose peak would pass full scale is turned down as a whole. All randomness comes from the
generator that is given.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from multimodal_ser.audio import SAMPLE_RATE, duration, load
from multimodal_ser.errors import InputError
from multimodal_ser.installation import explained_imports
from multimodal_ser.labels import nearest
from multimodal_ser.noises import NOISES

TELEPHONE_RATE = 8_000  # Hz
TELEPHONE_BAND = (300.0, 3_400.0)  # Hz
PITCH_WINDOW, PITCH_HOP = 1_024, 128  # samples: 64 ms and 8 ms, four periods of a voice of 62 Hz
AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"}
LONGEST_REVERBERATION = 5.0  # s

# Name: what libsndfile calls it, its sampling rate, and its quality as `compression_level`, 0 best.
CODECS: dict[str, tuple[str, str, int, float | None]] = {
    "telephone": ("WAV", "ULAW", TELEPHONE_RATE, None),  # G.711
    "mobile": ("WAV", "GSM610", TELEPHONE_RATE, None),  # GSM 06.10
    "mp3": ("MP3", "MPEG_LAYER_III", SAMPLE_RATE, 0.9),  # 16 kbit/s
    "vorbis": ("OGG", "VORBIS", SAMPLE_RATE, 0.9),
    "opus": ("OGG", "OPUS", SAMPLE_RATE, 0.95),
}

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class AugmentationConfig:
    """How often each change is made (a probability), and the range of its amount."""

    speed: float = 0.0
    speed_factors: tuple[float, ...] = (0.9, 1.1)
    pitch: float = 0.0
    pitch_semitones: tuple[float, ...] = (-2.0, 2.0)
    room: float = 0.0
    room_seconds: tuple[float, ...] = (0.1, 0.8)  # reverberation time: until it has fallen by 60 dB
    room_ratios: tuple[float, ...] = (0.0, 15.0)  # dB, direct sound over reverberation
    noise: float = 0.0
    noise_ratios: tuple[float, ...] = (5.0, 30.0)  # dB, speech over noise, both over the whole clip
    noise_kinds: tuple[str, ...] = tuple(NOISES)
    noise_folder: str | None = None  # recordings to take instead of the kinds
    gain: float = 0.0
    gain_decibels: tuple[float, ...] = (-12.0, 6.0)
    codec: float = 0.0
    codecs: tuple[str, ...] = ("telephone", "mp3", "vorbis")

    def __post_init__(self) -> None:
        for name in ("speed", "pitch", "room", "noise", "gain", "codec"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"augmentation.{name} = {getattr(self, name)}: a probability from 0 to 1")
        _check_range("speed_factors", self.speed_factors, 0.5, 2.0)
        _check_range("pitch_semitones", self.pitch_semitones, -12.0, 12.0)
        _check_range("room_seconds", self.room_seconds, 0.01, LONGEST_REVERBERATION)
        _check_range("room_ratios", self.room_ratios, -30.0, 60.0)
        _check_range("noise_ratios", self.noise_ratios, -30.0, 100.0)
        _check_range("gain_decibels", self.gain_decibels, -60.0, 60.0)
        _check_names("noise_kinds", self.noise_kinds, NOISES)
        _check_names("codecs", self.codecs, CODECS)

    @property
    def is_on(self) -> bool:
        """Whether anything is ever changed."""
        return any((self.speed, self.pitch, self.room, self.noise, self.gain, self.codec))


class Augmentation:
    """Changes a waveform as a configuration says."""

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config
        wants_files = config.noise > 0 and config.noise_folder is not None
        self.recordings = _recordings(config.noise_folder) if wants_files else []

    def __call__(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        config = self.config
        if not waveform.size:
            return waveform
        if generator.random() < config.speed:
            waveform = change_speed(waveform, generator.uniform(*config.speed_factors))
        if generator.random() < config.pitch:
            waveform = shift_pitch(waveform, generator.uniform(*config.pitch_semitones))
        if generator.random() < config.room:
            seconds, ratio = generator.uniform(*config.room_seconds), generator.uniform(*config.room_ratios)
            waveform = reverberate(waveform, room_response(seconds, ratio, generator))
        if generator.random() < config.noise:
            ratio = generator.uniform(*config.noise_ratios)
            waveform = add_noise(waveform, self._noise(waveform.size, generator), ratio)
        if generator.random() < config.gain:
            waveform = change_gain(waveform, generator.uniform(*config.gain_decibels))
        waveform = within_full_scale(waveform)
        if generator.random() < config.codec:
            waveform = within_full_scale(through_codec(waveform, str(generator.choice(config.codecs))))
        return waveform

    def _noise(self, size: int, generator: np.random.Generator) -> NDArray:
        if not self.recordings:
            return NOISES[str(generator.choice(self.config.noise_kinds))](size, generator)
        path = self.recordings[generator.integers(len(self.recordings))]
        seconds, wanted = duration(path), size / SAMPLE_RATE
        start = generator.uniform(0, max(0.0, seconds - wanted))
        noise = load(path, start, min(start + wanted, seconds))
        return np.resize(noise, size)  # a recording that is too short is repeated


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Play it `factor` times as fast: S / factor samples, all frequencies times `factor`."""
    played = soxr.resample(waveform, SAMPLE_RATE * factor, SAMPLE_RATE)
    return _fitted(played, max(1, round(waveform.size / factor)))


def shift_pitch(waveform: Waveform, semitones: float) -> Waveform:
    """Move all frequencies by `semitones`, at the same length and loudness; formants move along.

    A phase vocoder makes the clip longer or shorter at the same pitch, and resampling undoes that together
    with the pitch. Events are smeared by some 10 ms. A clip shorter than a window (64 ms) stays as it is.
    """
    if waveform.size < PITCH_WINDOW:
        return waveform
    factor = 2 ** (semitones / 12)
    stretched = _stretched(waveform, factor)
    shifted = soxr.resample(stretched, SAMPLE_RATE * factor, SAMPLE_RATE)
    return _as_loud(_fitted(shifted, waveform.size), waveform)


def _stretched(waveform: Waveform, factor: float) -> Waveform:
    """`factor` times as long, at the same pitch."""
    with explained_imports():
        import torch
        from torchaudio.functional import phase_vocoder

    window = torch.hann_window(PITCH_WINDOW)
    spectrum = torch.stft(
        torch.from_numpy(waveform), PITCH_WINDOW, PITCH_HOP, window=window, pad_mode="constant",
        return_complex=True,
    )  # fmt: skip
    advance = torch.linspace(0, math.pi * PITCH_HOP, PITCH_WINDOW // 2 + 1)[:, None]
    longer = phase_vocoder(spectrum, 1 / factor, advance)
    size = round(waveform.size * factor)
    return torch.istft(longer, PITCH_WINDOW, PITCH_HOP, window=window, length=size).numpy()


def room_response(seconds: float, ratio: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """A room's answer to an impulse: the direct sound at once, then noise that falls by 60 dB in `seconds`.

    ratio: dB, energy of the direct sound over that of everything behind it.
    """
    times = np.arange(max(2, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    response = generator.standard_normal(times.size) * 10 ** (-3 * times / seconds)
    response[0] = 0.0
    response *= math.sqrt(10 ** (-ratio / 10) / np.sum(response**2))
    response[0] = 1.0
    return response


def reverberate(waveform: Waveform, response: NDArray) -> Waveform:
    """The waveform in a room, as long and as loud as before; the direct sound stays where it was."""
    return _as_loud(fftconvolve(waveform.astype(np.float64), response)[: waveform.size], waveform)


def add_noise(waveform: Waveform, noise: NDArray, ratio: float) -> Waveform:
    """The waveform with `noise` (S,) that has `ratio` dB less power; as it was where either is silent."""
    speech_power, noise_power = _power(waveform), _power(noise)
    if not (speech_power > 0 and noise_power > 0):
        return waveform
    scale = math.sqrt(speech_power / noise_power * 10 ** (-ratio / 10))
    return (waveform + scale * noise).astype(np.float32)


def change_gain(waveform: Waveform, decibels: float) -> Waveform:
    """The waveform louder by `decibels`, or softer if they are negative."""
    return (waveform * 10 ** (decibels / 20)).astype(np.float32)


def within_full_scale(waveform: Waveform) -> Waveform:
    """The waveform, turned down so that its peak is 1 if it was above."""
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform / np.float32(peak) if peak > 1 else waveform


def through_codec(waveform: Waveform, codec: str) -> Waveform:
    """What is left behind one of `CODECS`; length and alignment stay."""
    form, subtype, rate, level = CODECS[codec]
    sent = waveform
    if rate != SAMPLE_RATE:
        sent = _in_band(soxr.resample(waveform, SAMPLE_RATE, rate), rate, *TELEPHONE_BAND)
        sent = within_full_scale(sent) if sent.size else np.zeros(1, np.float32)
    packed = io.BytesIO()
    quality = {} if level is None else {"compression_level": level}
    soundfile.write(packed, sent, rate, format=form, subtype=subtype, **quality)
    packed.seek(0)
    received, _ = soundfile.read(packed, dtype="float32")
    if rate != SAMPLE_RATE:
        received = soxr.resample(received, rate, SAMPLE_RATE)
    return _fitted(received, waveform.size)


def _in_band(waveform: Waveform, rate: int, low: float, high: float) -> Waveform:
    """Without what lies below `low` or above `high` Hz."""
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(waveform.size, 1 / rate) if waveform.size else np.zeros(0)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, waveform.size).astype(np.float32)


def _power(waveform: NDArray) -> float:
    return float(np.mean(waveform.astype(np.float64) ** 2))


def _as_loud(changed: NDArray, original: Waveform) -> Waveform:
    """`changed` with the power of `original`; silence stays silence."""
    power = _power(changed)
    return (changed * math.sqrt(_power(original) / power if power > 0 else 1.0)).astype(np.float32)


def _fitted(waveform: NDArray, size: int) -> Waveform:
    """Cut or filled up with silence to `size` samples."""
    fitted = np.zeros(size, np.float32)
    kept = min(size, waveform.size)
    fitted[:kept] = waveform[:kept]
    return fitted


def _recordings(folder: str) -> list[Path]:
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise InputError(
            f"augmentation.noise_folder = '{folder}': no sound files there "
            f"({', '.join(sorted(AUDIO_SUFFIXES))})"
        )
    return found


def _check_range(name: str, values: tuple[float, ...], low: float, high: float) -> None:
    if len(values) != 2 or not low <= values[0] <= values[1] <= high:
        raise InputError(
            f"augmentation.{name} = {list(values)}: two numbers, the smaller first, from {low:g} to {high:g}"
        )


def _check_names(name: str, values: tuple[str, ...], known: dict) -> None:
    if not values:
        raise InputError(f"augmentation.{name} is empty; known: {', '.join(known)}")
    for value in values:
        if value not in known:
            raise InputError(
                f"augmentation.{name}: unknown '{value}'{nearest(value, list(known))}; "
                f"known: {', '.join(known)}"
            )
