"""A small source-filter voice: phones in, speech-like sound out, with the manner of speaking planted.

The constants say what each dimension does to the voice. Arousal moves pitch and its range, loudness, tempo,
spectral tilt and jitter; dominance moves the formants and the firmness of onsets; valence leaves a trace.

Everything is 16 kHz and mono. Pitch is hertz, its movements semitones, times are seconds, `Manner` is in unit
scale. The same generator state gives the same samples on the same machine; other versions of NumPy or other
processors may differ in the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_ser.corpora.phones import NEUTRAL_TRACT, SOUNDS, SYLLABIC, Stretch, phones_of
from multimodal_ser.corpora.source_filter import (
    CONTROL_RATE,
    SAMPLES_PER_CONTROL,
    Controls,
    synthesise,
)

# What the manner does, from unit value 0 to 1.
PITCH_SPAN = 9.0  # semitones, arousal
ACCENT = (0.7, 4.0)  # semitones of a pitch accent, arousal
LOUDNESS = (-39.0, -22.0)  # dBFS while speaking, arousal
TEMPO = (0.78, 1.42)  # times the ordinary tempo, arousal
GLOTTAL_CORNER = (250.0, 2000.0)  # Hz above which the source falls, arousal: spectral tilt
JITTER = (0.004, 0.025)  # share of the period, arousal
SMILE = 0.01  # total shift of the second formant by valence: the trace of it that can be heard
TRACT_SPAN = 0.16  # total shift of all formants by dominance, downwards
ONSET = (-0.9, 1.0)  # change of level at the start of a word, dominance: soft to firm
ONSET_SECONDS = 0.05
BURST_SPAN = 16.0  # dB, dominance
CUE_NOISE = 0.10  # standard deviation, in unit scale, of each cue around its planted value
ROOM_NOISE = -68.0  # dBFS
VOICED = 0.2  # voicing above which loudness is measured

# Hertz (geometric mean) and vocal-tract scale; women's tracts are about 15 % shorter.
_VOICES = {"male": (115.0, 1.0), "female": (195.0, 1.15)}


@dataclass(frozen=True)
class Speaker:
    """The habits of one speaker: none of them says anything about emotion."""

    gender: str
    pitch: float  # Hz, at middling arousal
    tract: float  # factor on all formants
    tempo: float  # factor
    gain: float  # dB: voice and distance from the microphone
    breath: float  # level of breath noise in voiced sounds
    pause: float  # factor on pauses


@dataclass(frozen=True)
class Manner:
    """How something is said, in unit scale; `dominance` is the share of it that the voice carries."""

    arousal: float
    valence: float
    dominance: float


@dataclass(frozen=True)
class Speech:
    """Sound and where its words lie."""

    waveform: np.ndarray  # (S,) float32
    words: list[tuple[str, float, float]]  # word, start, end in seconds


def make_speaker(rng: np.random.Generator, gender: str) -> Speaker:
    """Draw the habits of a speaker."""
    pitch, tract = _VOICES[gender]
    return Speaker(
        gender=gender,
        pitch=float(pitch * 2 ** rng.normal(0, 0.10)),
        tract=float(tract * (1 + np.clip(rng.normal(0, 0.012), -0.03, 0.03))),
        tempo=float(np.exp(np.clip(rng.normal(0, 0.05), -0.1, 0.1))),
        gain=float(rng.uniform(-2, 2)),
        breath=float(rng.uniform(0.02, 0.06)),
        pause=float(rng.uniform(0.7, 1.3)),
    )


def speak(
    text: str,
    speaker: Speaker,
    manner: Manner,
    rng: np.random.Generator,
    seconds: tuple[float, float] | None = None,
) -> Speech:
    """Say `text`; with `seconds` = (shortest, longest) the tempo gives way where the text would not fit."""
    cues = _Cues.draw(speaker, manner, rng)
    plan = _Plan.of(text, speaker, cues, rng, seconds)
    controls = _controls(plan, speaker, cues, rng)
    sound = synthesise(controls, cues.corner, cues.jitter, cues.tract, rng)
    speaking = np.repeat(controls.voicing > VOICED, SAMPLES_PER_CONTROL)
    level = np.sqrt(np.mean(np.square(sound[speaking])) + 1e-20)
    sound *= 10 ** (cues.loudness / 20) / level
    sound += np.float32(10 ** (ROOM_NOISE / 20)) * rng.standard_normal(len(sound), np.float32)
    return Speech(np.clip(sound, -1, 1), plan.words)


@dataclass(frozen=True)
class _Cues:
    """What will be heard: the manner, blurred, and put on top of the speaker's habits."""

    pitch: float
    accent: float
    loudness: float
    tempo: float
    corner: float
    jitter: float
    tract: float
    smile: float
    onset: float
    burst: float

    @classmethod
    def draw(cls, speaker: Speaker, manner: Manner, rng: np.random.Generator) -> "_Cues":
        arousal = manner.arousal + CUE_NOISE * rng.standard_normal(6)
        dominance = manner.dominance + CUE_NOISE * rng.standard_normal(3)
        return cls(
            pitch=speaker.pitch * 2 ** (PITCH_SPAN * (arousal[0] - 0.5) / 12),
            accent=max(_between(ACCENT, arousal[1]), 0.0),
            loudness=_between(LOUDNESS, arousal[2]) + speaker.gain,
            tempo=speaker.tempo * _between(TEMPO, arousal[3]),
            corner=_between_octaves(GLOTTAL_CORNER, arousal[4]),
            jitter=_between_octaves(JITTER, arousal[5]),
            tract=speaker.tract * (1 - TRACT_SPAN * (dominance[0] - 0.5)),
            smile=1 + SMILE * (manner.valence - 0.5),
            onset=_between(ONSET, float(np.clip(dominance[1], 0, 1))),
            burst=10 ** (BURST_SPAN * (dominance[2] - 0.5) / 20),
        )


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _between_octaves(ends: tuple[float, float], share: float) -> float:
    return ends[0] * (ends[1] / ends[0]) ** share


@dataclass(frozen=True)
class _Plan:
    """The stretches of an utterance in order, and where they end."""

    stretches: list[Stretch]
    ends: np.ndarray  # seconds
    words: list[tuple[str, float, float]]
    accents: np.ndarray  # seconds: middles of the first full vowel of the longer words

    @classmethod
    def of(
        cls,
        text: str,
        speaker: Speaker,
        cues: _Cues,
        rng: np.random.Generator,
        seconds: tuple[float, float] | None,
    ) -> "_Plan":
        stretches, lengths, spans, vowels = _laid_out(text, speaker.pause, rng)
        durations = np.array(lengths) / cues.tempo
        if seconds is not None:
            total = durations.sum()
            durations *= np.clip(total, seconds[0] + 0.02, seconds[1] - 0.02) / total
        ends = np.cumsum(durations)
        starts = ends - durations
        words = [(word, float(starts[a]), float(ends[b - 1])) for word, a, b in spans]
        accents = np.array([(starts[index] + ends[index]) / 2 for index in vowels])
        return cls(stretches, ends, words, accents)

    def times(self) -> np.ndarray:
        """Middles of the control steps (C,), seconds."""
        return (np.arange(max(round(self.ends[-1] * CONTROL_RATE), 1)) + 0.5) / CONTROL_RATE


def _laid_out(text: str, pause: float, rng: np.random.Generator) -> tuple[list, list, list, list]:
    """Stretches, their lengths at ordinary tempo, the stretches of each word, and those with an accent."""
    tokens = text.split()
    silence = Stretch(0.12, NEUTRAL_TRACT, NEUTRAL_TRACT)
    stretches, lengths = [silence], [rng.uniform(0.08, 0.2)]
    spans: list[tuple[str, int, int]] = []
    vowels: list[int] = []
    for number, token in enumerate(tokens):
        first = len(stretches)
        accented = None
        for phone in phones_of(token):
            if accented is None and phone in SYLLABIC and phone != "ax" and len(token) > 3:
                accented = len(stretches)
            stretches += SOUNDS[phone]
            lengths += [stretch.seconds for stretch in SOUNDS[phone]]
        if len(stretches) == first:
            continue
        spans.append((token.strip(".,;:!?\"'"), first, len(stretches)))
        if accented is not None:
            vowels.append(accented)
        if token[-1] in ",;:.!?" and number < len(tokens) - 1:
            stretches.append(silence)
            lengths.append(pause * rng.uniform(0.15, 0.4))
    factors = np.exp(0.12 * rng.standard_normal(len(lengths)))
    stretches.append(silence)
    return stretches, [*(np.array(lengths) * factors), rng.uniform(0.08, 0.2)], spans, vowels


def _controls(plan: _Plan, speaker: Speaker, cues: _Cues, rng: np.random.Generator) -> Controls:
    times = plan.times()
    index = np.minimum(np.searchsorted(plan.ends, times), len(plan.ends) - 1)
    starts = np.concatenate([[0.0], plan.ends[:-1]])
    share = np.clip((times - starts[index]) / np.maximum(plan.ends - starts, 1e-9)[index], 0, 1)

    def track(name: str) -> np.ndarray:
        return np.array([getattr(stretch, name) for stretch in plan.stretches], float).T[..., index]

    formants = track("start") + share * (track("end") - track("start"))
    formants = np.stack([_smoothed(row, 11) for row in formants]) * cues.tract
    formants[1] *= cues.smile
    since_onset = _since(times, [start for _, start, _ in plan.words])
    voicing = _smoothed(track("voicing"), 5) * (1 + cues.onset * np.exp(-since_onset / ONSET_SECONDS))
    return Controls(
        pitch=_pitch_contour(plan, cues, rng),
        voicing=voicing,
        breath=_smoothed(track("breath"), 5) + speaker.breath * voicing,
        hiss=_smoothed(track("hiss") * np.where(track("is_burst") > 0, cues.burst, 1.0), 3),
        hiss_centre=track("hiss_centre"),
        hiss_width=track("hiss_width"),
        formants=formants,
    )


def _since(times: np.ndarray, onsets: Sequence[float]) -> np.ndarray:
    """Seconds since the last of `onsets`; infinite before the first."""
    known = np.concatenate([[-np.inf], onsets])
    return times - known[np.searchsorted(onsets, times, side="right")]


def _smoothed(track: np.ndarray, width: int) -> np.ndarray:
    """`track` under a Hann window of `width` steps, its ends held."""
    window = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), window / window.sum(), mode="valid")


def _pitch_contour(plan: _Plan, cues: _Cues, rng: np.random.Generator) -> np.ndarray:
    """Pitch in hertz in control steps: it falls slowly, rises on accents and falls at the end."""
    times = plan.times()
    progress = times / plan.ends[-1]
    semitones = cues.accent * (0.4 - 0.8 * progress - 0.8 * np.clip((progress - 0.85) / 0.15, 0, 1))
    heights = cues.accent * rng.uniform(0.4, 1.4, len(plan.accents))
    nearby = (times[None, :] - plan.accents[:, None]) / 0.09
    semitones = semitones + (heights[:, None] * np.exp(-0.5 * nearby**2)).sum(0)
    semitones += 0.15 * np.sin(2 * np.pi * (rng.uniform(3, 5) * times + rng.uniform()))
    return np.clip(cues.pitch * 2 ** (semitones / 12), 50, 600)
