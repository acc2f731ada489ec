"""A podcast episode whose truth is known: speakers in turns, music, silence, and interruptions.

Every speaker has a mood that drifts slowly (see `Mood`), so that a timeline of the episode means something.
Sound is written in blocks: memory does not grow with the length. Beside the sound lie, under the same name,
a transcript as .srt, .vtt (voice tags) and .json (Podcasting 2.0), the turns as .rttm, and the truth as .csv:

    start, end (seconds), speaker, text, arousal, valence, dominance (planted, unit scale), kind

where `kind` is speech, jingle or silence; only speech has a speaker, a text and dimensions.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.cache import atomic_path, write_text
from multimodal_ser.corpora.episode_files import WRITERS, Event
from multimodal_ser.corpora.grammar import sentence
from multimodal_ser.corpora.voice import Manner, Speaker, make_speaker, speak
from multimodal_ser.errors import InputError

NAMES = ("Ada", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry")  # women and men take turns
SUFFIXES = (".mp3", ".flac", ".wav", ".ogg")
SAMPLE_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz: those that mp3 has too
SHORTEST = 0.5  # minutes
JINGLE_SECONDS = 6.0
JINGLE_EVERY = 600.0  # seconds, about
SILENCE_EVERY = 240.0  # seconds, about
SILENCE_SECONDS = (3.0, 8.0)
SENTENCES_PER_TURN = (1, 5)
PAUSE_IN_TURN = (0.15, 0.5)  # seconds
PAUSE_BETWEEN_TURNS = (0.2, 0.9)  # seconds
INTERRUPTED_SHARE = 0.15  # of the turns start before the last one has ended
OVERLAP = (0.4, 1.2)  # seconds of cross-talk
MARGIN = 0.02  # seconds around the words of a sentence, in which sound fades
MOOD_SECONDS = 90.0  # after which a mood has forgotten most of what it was
_TEMPO = 120.0  # beats per minute of the jingle
_CHORDS = ((261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7))  # Hz
_SCRIPT, _HABITS, _MOOD = range(3)  # kinds of random numbers
_BLOCK = 10.0  # seconds of sound collected before it is written


@dataclass(frozen=True)
class Episode:
    """An episode on disk and everything that is in it, in order of start."""

    audio: Path
    seconds: float
    events: list[Event]
    files: dict[str, Path]  # format: where it lies

    @property
    def speech(self) -> list[Event]:
        return [event for event in self.events if event.kind == "speech"]


@dataclass
class Mood:
    """Arousal, valence and the two halves of dominance of one speaker, drifting around the middle.

    Each is an Ornstein-Uhlenbeck process of unit variance, exact for any step, mapped to 0.05..0.95 by a
    logistic curve that makes it nearly uniform.
    """

    rng: np.random.Generator
    at: float = 0.0  # seconds
    state: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.rng.standard_normal(4)

    def moved_to(self, seconds: float) -> tuple[float, float, float, float]:
        """Arousal, valence, dominance of the voice, dominance of the words at `seconds`, unit scale."""
        kept = np.exp(-(seconds - self.at) / MOOD_SECONDS)
        self.state = kept * self.state + np.sqrt(1 - kept**2) * self.rng.standard_normal(4)
        self.at = seconds
        values = 0.05 + 0.9 / (1 + np.exp(-1.702 * self.state))  # within 0.01 of the normal distribution
        arousal, valence, voice, words = (round(float(value), 4) for value in values)
        return arousal, valence, voice, words


def make_episode(
    path: str | os.PathLike,
    *,
    minutes: float = 5.0,
    speakers: int = 3,
    seed: int = 0,
    sample_rate: int = 44_100,
    channels: int = 1,
    transcripts: Sequence[str] = tuple(WRITERS),
) -> Episode:
    """Make an episode of about `minutes` at `path`, whose suffix says the format, and its transcripts."""
    path = Path(path)
    _check(path, minutes, speakers, sample_rate, channels, transcripts)
    script = _Script(minutes * 60, speakers, seed)
    with atomic_path(path) as temporary:
        seconds = _write_sound(temporary, script, sample_rate, channels)
    events = sorted(script.events, key=lambda event: (event.start, event.end))
    files = {name: path.with_suffix(f".{name}") for name in transcripts}
    for name, file in files.items():
        write_text(file, WRITERS[name](events, path.stem))
    return Episode(path, seconds, events, files)


def _check(
    path: Path, minutes: float, speakers: int, sample_rate: int, channels: int, transcripts: Sequence[str]
) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"episode '{path.name}': unknown suffix '{path.suffix}'; known: {', '.join(SUFFIXES)}"
        )
    if not SHORTEST <= minutes < float("inf"):
        raise InputError(f"an episode of {minutes:g} minutes: must be at least {SHORTEST:g}")
    if not 1 <= speakers <= len(NAMES):
        raise InputError(f"an episode with {speakers} speakers: must be 1 to {len(NAMES)}")
    if sample_rate not in SAMPLE_RATES:
        raise InputError(f"sampling rate {sample_rate}: must be one of {', '.join(map(str, SAMPLE_RATES))}")
    if channels not in (1, 2):
        raise InputError(f"{channels} channels: must be 1 or 2")
    if unknown := [name for name in transcripts if name not in WRITERS]:
        raise InputError(f"unknown transcript format '{unknown[0]}'; known: {', '.join(WRITERS)}")


@dataclass
class _Voice:
    name: str
    habits: Speaker
    mood: Mood
    place: float  # between left 0 and right 1


Piece = tuple[int, np.ndarray, float]  # first sample, sound (S,), place between left 0 and right 1


class _Script:
    """What happens, piece by piece; `events` is filled on the way."""

    def __init__(self, seconds: float, speakers: int, seed: int) -> None:
        self.closing = seconds - JINGLE_SECONDS  # when the last jingle is due
        self.cast = _cast(speakers, seed)
        self.rng = np.random.default_rng([seed, _SCRIPT])
        self.events: list[Event] = []
        self.clock = 0.0
        self.jingle_at = JINGLE_EVERY
        self.silence_at = min(SILENCE_EVERY, seconds) * self.rng.uniform(0.2, 0.6)
        self.was_interrupted = False  # so that there is cross-talk in the shortest episode
        self.speaking: int | None = None  # whose turn it is

    def pieces(self) -> Iterator[Piece]:
        """The episode in order; a piece starts at most OVERLAP before the end of all earlier ones."""
        yield self._jingle()
        while self.clock < self.closing:
            if self.clock > self.jingle_at:
                self.jingle_at = self.clock + JINGLE_EVERY
                yield self._jingle()
            if self.clock > self.silence_at:
                self.silence_at = self.clock + SILENCE_EVERY * self.rng.uniform(0.5, 1.5)
                self._silence()
            yield from self._turn()
        yield self._jingle()

    def _turn(self) -> Iterator[Piece]:
        """Some sentences of somebody who did not speak last, perhaps before the last one has finished."""
        others = [index for index in range(len(self.cast)) if index != self.speaking] or [0]
        can_interrupt = self.events[-1].kind == "speech" and len(self.cast) > 1
        is_due = self.rng.random() < INTERRUPTED_SHARE or not self.was_interrupted
        interrupts = can_interrupt and is_due
        self.was_interrupted |= interrupts
        self.speaking = int(self.rng.choice(others))
        self.clock -= self.rng.uniform(*OVERLAP) if interrupts else 0.0
        for number in range(self.rng.integers(*SENTENCES_PER_TURN, endpoint=True)):
            if number > 0:
                self.clock += self.rng.uniform(*PAUSE_IN_TURN)
            elif not interrupts:
                self.clock += self.rng.uniform(*PAUSE_BETWEEN_TURNS)
            yield self._sentence(self.cast[self.speaking])
            if self.clock >= self.closing:
                return

    def _sentence(self, voice: _Voice) -> Piece:
        arousal, valence, of_voice, of_words = voice.mood.moved_to(self.clock)
        text = sentence(valence, of_words, self.rng)
        speech = speak(text, voice.habits, Manner(arousal, valence, of_voice), self.rng)
        first = max(0, round((speech.words[0][1] - MARGIN) * SAMPLE_RATE))
        sound = speech.waveform[first : round((speech.words[-1][2] + MARGIN) * SAMPLE_RATE)]
        dominance = round((of_voice + of_words) / 2, 5)
        truth = ("speech", voice.name, text, arousal, valence, dominance)
        return self._placed(sound, voice.place, truth)

    def _jingle(self) -> Piece:
        self.clock += 0.5 if self.events else 0.0
        return self._placed(jingle(), 0.5, ("jingle",))

    def _placed(self, sound: np.ndarray, place: float, what: tuple) -> Piece:
        start = round(self.clock * SAMPLE_RATE)
        self.clock = (start + len(sound)) / SAMPLE_RATE
        self.events.append(Event(round(start / SAMPLE_RATE, 3), round(self.clock, 3), *what))
        return start, sound, place

    def _silence(self) -> None:
        start, self.clock = self.clock, self.clock + self.rng.uniform(*SILENCE_SECONDS)
        self.events.append(Event(round(start, 3), round(self.clock, 3), "silence"))


def _cast(count: int, seed: int) -> list[_Voice]:
    voices = []
    for index in range(count):
        habits = make_speaker(np.random.default_rng([seed, _HABITS, index]), ("female", "male")[index % 2])
        mood = Mood(np.random.default_rng([seed, _MOOD, index]))
        place = 0.5 if count == 1 else 0.35 + 0.3 * index / (count - 1)
        voices.append(_Voice(NAMES[index], habits, mood, place))
    return voices


def jingle() -> np.ndarray:
    """JINGLE_SECONDS of plucked chords (S,), fading out."""
    times = np.arange(round(JINGLE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    note = 60 / _TEMPO / 2
    sound = np.zeros(len(times))
    for step in range(int(JINGLE_SECONDS / note)):
        chord = _CHORDS[step // 4 % len(_CHORDS)]
        since = times[times >= step * note] - step * note
        pitch = 2 * chord[step % 3]
        tone = sum(np.sin(2 * np.pi * k * pitch * since) / k**2 for k in (1, 2, 3))
        sound[-len(since) :] += tone * np.exp(-since / 0.35)
        if step % 4 == 0:
            sound[-len(since) :] += np.sin(np.pi * chord[0] * since) * np.exp(-since / 0.8)
    return (0.12 * sound * np.minimum(1, (times[-1] - times) / 1.0)).astype(np.float32)


def _write_sound(path: Path, script: _Script, sample_rate: int, channels: int) -> float:
    """Mix the pieces of `script` into a file and return its length in seconds."""
    resample = soxr.ResampleStream(SAMPLE_RATE, sample_rate, channels) if sample_rate != SAMPLE_RATE else None
    written = 0
    with soundfile.SoundFile(path, "w", sample_rate, channels, **_format(path)) as file:
        for block, is_last in _mixed(script, channels):
            if resample is not None:
                block = resample.resample_chunk(block, last=is_last)
            file.write(np.clip(block, -1, 1))
            written += len(block)
    return written / sample_rate


def _format(path: Path) -> dict[str, str]:
    return {
        ".mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
        ".flac": {"format": "FLAC", "subtype": "PCM_16"},
        ".wav": {"format": "WAV", "subtype": "PCM_16"},
        ".ogg": {"format": "OGG", "subtype": "VORBIS"},
    }[path.suffix.lower()]


def _mixed(script: _Script, channels: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Blocks (S, channels) of the mix in order, and whether each is the last one.

    A later piece starts at most OVERLAP before the end of what is there: everything before that is done.
    """
    reach = round(OVERLAP[1] * SAMPLE_RATE) + 1
    pending = np.zeros((0, channels), np.float32)
    first = 0  # sample at which `pending` begins
    for start, sound, place in script.pieces():
        missing = start + len(sound) - first - len(pending)
        pending = np.pad(pending, ((0, max(missing, 0)), (0, 0)))
        gains = np.float32([1.0]) if channels == 1 else np.sqrt(np.float32([1 - place, place]) * 2)
        pending[start - first : start - first + len(sound)] += sound[:, None] * gains
        if (done := len(pending) - reach) >= _BLOCK * SAMPLE_RATE:
            yield pending[:done], False
            pending, first = pending[done:].copy(), first + done
    yield pending, True
