"""The synthetic voice against physics: pitch, resonances, levels, and sounds that follow the words."""

import numpy as np
import pytest
from scipy import fft
from scipy.signal import find_peaks, welch

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.corpora import grammar, source_filter, voice
from multimodal_ser.corpora.phones import SYLLABIC, phones_of
from multimodal_ser.corpora.source_filter import CONTROL_RATE, Controls, synthesise
from multimodal_ser.corpora.voice import Manner, Speaker, make_speaker, speak

PLAIN = Speaker("male", pitch=120.0, tract=1.0, tempo=1.0, gain=0.0, breath=0.0, pause=1.0)
TEXT = "In the end, her wooden ladder was no longer near the market."
VOICED = "no rule may lower a woman"


@pytest.fixture(autouse=True)
def exact_cues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cues at their planted value, so that they can be compared with it."""
    monkeypatch.setattr(voice, "CUE_NOISE", 0.0)


def said(
    text: str = TEXT, arousal: float = 0.5, valence: float = 0.5, dominance: float = 0.5
) -> voice.Speech:
    return speak(text, PLAIN, Manner(arousal, valence, dominance), np.random.default_rng(3))


def held(
    voicing: float, breath: float, formants: tuple[float, float, float], pitch: float = 100.0
) -> Controls:
    """Two seconds of one unchanging sound."""
    steps = np.ones(2 * CONTROL_RATE)
    return Controls(
        pitch * steps, voicing * steps, breath * steps, 0 * steps, 4000 * steps, 1000 * steps,
        np.array(formants)[:, None] * steps,
    )  # fmt: skip


def pitches(waveform: np.ndarray) -> np.ndarray:
    """Pitch of the clearly periodic frames by autocorrelation, Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 640)[::160]
    frames = frames[np.sqrt(np.mean(frames**2, axis=1)) > 0.3 * np.sqrt(np.mean(waveform**2))]
    power = np.abs(fft.rfft(frames - frames.mean(1, keepdims=True), 2048, axis=1)) ** 2
    correlation = fft.irfft(power, axis=1)
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 60
    lags = shortest + np.argmax(correlation[:, shortest:longest], axis=1)
    periodic = correlation[np.arange(len(lags)), lags] > 0.5 * correlation[:, 0]
    return SAMPLE_RATE / lags[periodic]


def log_spectrum(waveform: np.ndarray) -> np.ndarray:
    """Long-term average spectrum in dB."""
    return 10 * np.log10(welch(waveform, SAMPLE_RATE, nperseg=512)[1] + 1e-14)


def test_a_steady_source_repeats_with_the_period_of_its_pitch() -> None:
    sound = synthesise(held(1, 0, (500, 1500, 2500), 100.0), 1000.0, 0.0, 1.0, np.random.default_rng(0))
    period = SAMPLE_RATE // 100
    middle = sound[8000:16000]
    assert np.allclose(middle[period:], middle[:-period], atol=0.02 * np.abs(middle).max())


@pytest.mark.parametrize("formants", [(280, 2250, 2900), (710, 1150, 2440), (550, 1800, 2500)])
def test_resonances_lie_at_the_formants(formants: tuple[int, int, int]) -> None:
    sound = synthesise(held(0, 1, formants), 1000.0, 0.0, 1.0, np.random.default_rng(0))
    hertz, power = welch(sound, SAMPLE_RATE, nperseg=512)
    peaks = hertz[find_peaks(10 * np.log10(power), prominence=3)[0]]
    for formant in formants:
        assert np.abs(peaks - formant).min() < 70


def test_filtering_with_a_flat_response_changes_nothing() -> None:
    signal = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    spectra = source_filter._spectra(signal)
    same = source_filter._overlapped(fft.irfft(spectra, source_filter._FFT, axis=1), len(signal))
    np.testing.assert_allclose(same, signal, atol=1e-5)


def test_pulses_between_samples_lie_where_they_should() -> None:
    """The centre of gravity of a band-limited pulse is its position."""
    for position in (100.0, 100.25, 100.5, 100.9):
        train = source_filter._pulse_train(np.array([position]), np.array([1.0]), 200)
        assert (train * np.arange(200)).sum() / train.sum() == pytest.approx(position, abs=0.02)


def test_pitch_rises_by_the_planted_semitones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "ACCENT", (0.0, 0.0))
    low, middle, high = (np.median(pitches(said(VOICED, value).waveform)) for value in (0.2, 0.5, 0.8))
    assert 12 * np.log2(high / low) == pytest.approx(0.6 * voice.PITCH_SPAN, abs=0.5)
    assert middle == pytest.approx(PLAIN.pitch, rel=0.05)


def test_arousal_widens_the_range_of_pitch() -> None:
    ranges = []
    for value in (0.1, 0.9):
        low, high = np.percentile(pitches(said(VOICED, value).waveform), (10, 90))
        ranges.append(12 * np.log2(high / low))
    assert ranges[1] > 2 * ranges[0]


def test_arousal_makes_speech_louder_by_the_planted_decibels_and_shorter_by_the_planted_tempo() -> None:
    calm, excited = said(arousal=0.1), said(arousal=0.9)
    louder = 20 * np.log10(np.std(excited.waveform) / np.std(calm.waveform))
    assert louder == pytest.approx(0.8 * (voice.LOUDNESS[1] - voice.LOUDNESS[0]), abs=1.5)
    tempo = [voice.TEMPO[0] + value * (voice.TEMPO[1] - voice.TEMPO[0]) for value in (0.1, 0.9)]
    shorter = len(calm.waveform) / len(excited.waveform)
    assert shorter == pytest.approx(tempo[1] / tempo[0], rel=0.02)


def test_arousal_flattens_the_spectrum() -> None:
    hertz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE)
    low, high = (hertz > 200) & (hertz < 900), (hertz > 1800) & (hertz < 3500)
    drop = []
    for value in (0.1, 0.9):
        spectrum = log_spectrum(said(VOICED, arousal=value).waveform)
        drop.append(spectrum[low].mean() - spectrum[high].mean())
    assert drop[0] > drop[1] + 6


def test_valence_is_inaudible_apart_from_a_trace() -> None:
    middle = log_spectrum(said().waveform)
    by_valence = np.abs(log_spectrum(said(valence=1.0).waveform) - middle).mean()
    by_arousal = np.abs(log_spectrum(said(arousal=1.0).waveform) - middle).mean()
    by_dominance = np.abs(log_spectrum(said(dominance=1.0).waveform) - middle).mean()
    assert 0 < by_valence < 0.1 * min(by_arousal, by_dominance)


def test_dominance_lowers_the_formants_and_leaves_pitch_length_and_level_alone() -> None:
    meek, firm = said("see", dominance=0.0), said("see", dominance=1.0)
    assert len(meek.waveform) == len(firm.waveform)
    assert np.std(firm.waveform) == pytest.approx(np.std(meek.waveform), rel=0.25)
    assert np.median(pitches(firm.waveform)) == pytest.approx(np.median(pitches(meek.waveform)), rel=0.03)
    second = []
    for speech in (meek, firm):
        _, start, end = speech.words[0]
        vowel = speech.waveform[int((0.4 * start + 0.6 * end) * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        hertz, power = welch(vowel, SAMPLE_RATE, nperseg=256, nfft=2048)
        band = (hertz > 1700) & (hertz < 2700)
        second.append(hertz[band][np.argmax(power[band])])
    half = voice.TRACT_SPAN / 2
    assert second[1] / second[0] == pytest.approx((1 - half) / (1 + half), rel=0.05)


def test_dominance_makes_words_start_firmly() -> None:
    shares = []
    for value in (0.0, 1.0):
        speech = said("Ada, Anna, Ella", dominance=value)
        start = int(speech.words[1][1] * SAMPLE_RATE)
        onset, later = speech.waveform[start : start + 640], speech.waveform[start + 960 : start + 1600]
        shares.append(np.std(onset) / np.std(later))
    assert shares[1] > 2 * shares[0]


def test_sound_follows_the_words() -> None:
    speech = said("sassy, moon")
    high = [share_above(speech, index, 4000) for index in range(2)]
    assert high[0] > 0.05
    assert high[1] < 0.005
    (_, _, end), (_, start, _) = speech.words
    pause = speech.waveform[int((end + 0.04) * SAMPLE_RATE) : int((start - 0.04) * SAMPLE_RATE)]
    assert 20 * np.log10(np.std(pause)) == pytest.approx(voice.ROOM_NOISE, abs=3)


def share_above(speech: voice.Speech, word: int, hertz: float) -> float:
    _, start, end = speech.words[word]
    piece = speech.waveform[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    power = np.abs(fft.rfft(piece)) ** 2
    return power[np.fft.rfftfreq(len(piece), 1 / SAMPLE_RATE) > hertz].sum() / power.sum()


def test_words_follow_each_other_inside_the_sound() -> None:
    speech = said()
    assert [word for word, _, _ in speech.words] == [word.strip(".,") for word in TEXT.split()]
    times = [time for _, start, end in speech.words for time in (start, end)]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < len(speech.waveform) / SAMPLE_RATE


@pytest.mark.parametrize("text", ["no", TEXT + " " + TEXT + " " + TEXT])
def test_tempo_gives_way_to_the_wanted_length(text: str) -> None:
    speech = speak(text, PLAIN, Manner(0.5, 0.5, 0.5), np.random.default_rng(0), seconds=(2.0, 8.0))
    assert 2.0 <= len(speech.waveform) / SAMPLE_RATE <= 8.0


def test_speakers_differ_and_women_speak_higher() -> None:
    women = [make_speaker(np.random.default_rng(seed), "female") for seed in range(50)]
    men = [make_speaker(np.random.default_rng(seed), "male") for seed in range(50)]
    assert len({speaker.pitch for speaker in women}) == 50
    assert np.median([s.pitch for s in women]) > 1.5 * np.median([s.pitch for s in men])
    assert min(s.tract for s in women) > max(s.tract for s in men)


def test_the_same_random_numbers_give_the_same_sound() -> None:
    assert np.array_equal(said().waveform, said().waveform)
    other = speak(TEXT, PLAIN, Manner(0.5, 0.5, 0.5), np.random.default_rng(4))
    assert not np.array_equal(said().waveform[:8000], other.waveform[:8000])


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("the", "dh ax"), ("see", "s iy"), ("polite", "p aa l ay t"), ("bright", "b r ay t"),
        ("ladder", "l ae d er"), ("sunny", "s ah n iy"), ("Teacher.", "t iy ch er"), ("round", "r aw n d"),
        ("station", "s t ae sh ax n"), ("knife", "n ay f"), ("", ""), ("'", ""),
    ],
)  # fmt: skip
def test_spelling_becomes_phones(word: str, phones: str) -> None:
    assert phones_of(word) == tuple(phones.split())


def test_every_word_of_the_grammar_can_be_spoken() -> None:
    lists = (grammar.ADJECTIVES, grammar.NOUNS, grammar.VERBS, grammar.OPENERS, grammar.CLOSERS)
    words = {word for graded in lists for grade in graded for phrase in grade for word in phrase.split()}
    assert len(words) > 100
    for word in words:
        assert SYLLABIC & set(phones_of(word)), word
