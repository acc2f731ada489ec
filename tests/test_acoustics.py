"""The acoustic set against tones, pulses and noise with known answers, and what a synthetic voice plants."""

import itertools

import numpy as np
import pytest

from multimodal_ser.analysis import acoustic_table, acoustics, pitch
from multimodal_ser.analysis.acoustics import NAMES, REFERENCE_PITCH, acoustic_set
from multimodal_ser.corpora.voice import PITCH_SPAN, Manner, make_speaker, speak

RATE = 16_000
SECONDS = 2
TIME = np.arange(SECONDS * RATE) / RATE
TEXT = "I really think that this is going to be a wonderful morning, and we should all go outside."


def buzz(pitch, harmonics=20, falloff=6.0):
    """A steady voice: harmonics that fall by `falloff` dB per octave."""
    return 0.1 * sum(
        10 ** (-falloff * np.log2(k) / 20) * np.sin(2 * np.pi * pitch * k * TIME)
        for k in range(1, harmonics + 1)
    )


def pulses(periods, seed=0):
    """Smooth pulses at given distances (in samples, fractions allowed), and the time they take."""
    times = np.cumsum(periods) + 200
    grid = np.arange(int(times[-1]) + 400)
    sound = np.zeros(len(grid))
    for time in times:
        near = slice(max(int(time) - 60, 0), int(time) + 60)
        x = (grid[near] - time) / 6
        sound[near] += (1 - x**2) * np.exp(-(x**2) / 2)
    return 0.3 * sound


@pytest.mark.parametrize("hertz", [75, 110, 220, 331.7, 440])
def test_pitch_of_a_tone_is_its_frequency_in_semitones(hertz):
    for sound in (0.5 * np.sin(2 * np.pi * hertz * TIME), buzz(hertz)):
        found = acoustic_set(sound)
        assert found["pitch"] == pytest.approx(12 * np.log2(hertz / REFERENCE_PITCH), abs=0.05)
        assert found["pitch_spread"] < 0.05
        assert found["voicing"] == pytest.approx(1)


def test_a_glide_has_its_slope():
    semitones_per_second = 6.0
    phase = 150 * (2 ** (semitones_per_second * TIME / 12) - 1) * 12 / (semitones_per_second * np.log(2))
    found = acoustic_set(0.3 * np.sin(2 * np.pi * phase))
    assert found["pitch_slope"] == pytest.approx(semitones_per_second, abs=0.05)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.01])
def test_loudness_of_a_sine_is_its_level(amplitude):
    found = acoustic_set(amplitude * np.sin(2 * np.pi * 200 * TIME))
    assert found["loudness"] == pytest.approx(20 * np.log10(amplitude) - 3.01, abs=0.02)


def test_steeper_voices_have_lower_slopes_and_higher_ratios():
    gentle, steep = (acoustic_set(buzz(100, 40, falloff)) for falloff in (3.0, 12.0))
    assert steep["slope_high"] < gentle["slope_high"]
    assert steep["alpha_ratio"] > gentle["alpha_ratio"] + 10
    # Strongest harmonics below and above 2 kHz: 100 Hz against 2000 or 2100 Hz, log2(20.5) octaves.
    assert gentle["hammarberg"] == pytest.approx(3 * np.log2(20.5), abs=1)
    assert steep["hammarberg"] == pytest.approx(12 * np.log2(20.5), abs=1)


def test_slope_in_a_band_is_that_of_shaped_noise():
    generator = np.random.default_rng(0)
    spectrum = np.fft.rfft(generator.standard_normal(RATE * 20))
    kilohertz = np.fft.rfftfreq(RATE * 20, 1 / RATE) / 1000
    shaped = np.fft.irfft(spectrum * 10 ** (-20 * np.minimum(kilohertz, 2) / 20))  # falls by 20 dB per kHz
    frames = acoustics._frames(0.01 * shaped, RATE)
    everywhere = acoustics._Frames(
        frames.level, np.full(len(frames.level), 100.0), frames.height, frames.spectrum, frames.frequencies,
        np.ones(len(frames.level), bool),
    )  # fmt: skip
    assert acoustics._spectral(everywhere)["slope_high"] == pytest.approx(-20, abs=1)


def test_jitter_and_shimmer_are_those_of_the_pulses():
    generator = np.random.default_rng(1)
    for share in (0.0, 0.01, 0.02):
        periods = 128 * (1 + share * generator.standard_normal(240))
        found = acoustic_set(pulses(periods))
        expected = np.abs(np.diff(periods)).mean() / periods.mean()
        assert found["jitter"] == pytest.approx(expected, rel=0.2, abs=5e-4)
    assert acoustic_set(pulses(np.full(240, 128.0)))["shimmer"] < 0.05


def test_harmonics_to_noise_is_the_ratio_that_was_mixed():
    generator = np.random.default_rng(2)
    voice = buzz(160, 12)
    for decibels in (5.0, 10.0, 20.0):
        noise = generator.standard_normal(len(voice))
        noise *= voice.std() / noise.std() * 10 ** (-decibels / 20)
        assert acoustic_set(voice + noise)["hnr"] == pytest.approx(decibels, abs=1.2)


def test_noise_is_not_voiced_and_has_no_pitch():
    found = acoustic_set(0.1 * np.random.default_rng(3).standard_normal(2 * RATE))
    assert found["voicing"] < 0.1
    assert np.isfinite(found["loudness"])


def test_pauses_and_rate_are_those_of_bursts():
    """Two bursts a second, each 0.25 s of voice and 0.25 s of silence."""
    is_on = (TIME % 0.5) < 0.25
    found = acoustic_set(buzz(200, 12) * is_on)
    # Between the first and the last burst lie three silences in 1.75 s; frames of 40 ms reach into each.
    assert found["pauses"] == pytest.approx(0.75 / 1.75, abs=0.09)
    assert found["pause_length"] == pytest.approx(0.25, abs=0.05)
    assert found["rate"] == pytest.approx(2, abs=0.51)


@pytest.mark.parametrize(("hertz", "is_syllabic"), [(4.0, True), (10.0, False), (1.5, False)])
def test_modulation_is_where_the_envelope_moves(hertz, is_syllabic):
    sound = buzz(500, 4) * (1 + 0.8 * np.sin(2 * np.pi * hertz * TIME))
    assert (acoustic_set(sound)["modulation"] > 0.5) == is_syllabic


def test_level_changes_loudness_and_nothing_else():
    speech = _spoken(0.5, 0.5, 7).waveform
    one, quiet = acoustic_set(speech), acoustic_set(speech / 4)
    for name in NAMES:
        expected = one[name] - 20 * np.log10(4) if name == "loudness" else one[name]
        assert quiet[name] == pytest.approx(expected, rel=1e-2, abs=1e-2), name


def test_silence_and_too_little_have_no_values():
    for nothing in (np.zeros(RATE), np.zeros(0), 0.1 * np.ones(100)):
        assert all(np.isnan(value) for value in acoustic_set(nothing).values())


def test_planted_pitch_is_found():
    errors = []
    for seed in range(6):
        speaker = make_speaker(np.random.default_rng(seed), ("male", "female")[seed % 2])
        arousal = (0.1, 0.4, 0.6)[seed % 3]
        found = acoustic_set(
            speak(TEXT, speaker, Manner(arousal, 0.5, 0.5), np.random.default_rng(seed)).waveform
        )
        planted = 12 * np.log2(speaker.pitch / REFERENCE_PITCH) + PITCH_SPAN * (arousal - 0.5)
        errors.append(found["pitch"] - planted)
    # The voice blurs its pitch cue by a tenth of the span, 0.9 semitones, and accents lift the median.
    assert np.abs(errors).max() < 3.5
    assert np.abs(np.median(errors)) < 1.5


def test_planted_arousal_raises_pitch_loudness_rate_and_jitter_and_flattens_the_spectrum():
    calm = [acoustic_set(_spoken(0.15, 0.5, seed).waveform) for seed in range(4)]
    roused = [acoustic_set(_spoken(0.85, 0.5, seed).waveform) for seed in range(4)]

    def difference(name):
        return np.mean([r[name] - c[name] for r, c in zip(roused, calm, strict=True)])

    for name in ("pitch", "pitch_spread", "loudness", "rate", "slope_high", "jitter"):
        assert difference(name) > 0, name
    for name in ("alpha_ratio", "hammarberg", "hnr"):
        assert difference(name) < 0, name
    assert difference("loudness") == pytest.approx(0.7 * 17, abs=4)  # dB from -39 to -22 over the scale


def test_a_table_is_filled_with_means_and_loses_what_says_nothing():
    table = np.array([[1.0, 2.0, np.nan, 5.0], [3.0, np.nan, np.nan, 5.0], [np.nan, 4.0, np.nan, 5.0]])
    np.testing.assert_array_equal(acoustic_table.filled(table), [[1, 2], [3, 3], [2, 4]])


def _spoken(arousal, dominance, seed):
    speaker = make_speaker(np.random.default_rng(seed), "female")
    return speak(TEXT, speaker, Manner(arousal, 0.5, dominance), np.random.default_rng(seed))


def test_the_path_of_pitch_is_the_best_of_all_paths():
    generator = np.random.default_rng(4)
    for _ in range(5):
        octaves, strength = generator.uniform(6, 9, (5, 3)), generator.uniform(0, 1, (5, 3))

        def worth(path, octaves=octaves, strength=strength):
            rows = np.arange(5)
            jumps = [
                (
                    pitch.JUMP_COST * abs(octaves[row, a] - octaves[row + 1, b])
                    if a and b
                    else pitch.SWITCH_COST
                )
                * (bool(a or b))
                for row, (a, b) in enumerate(itertools.pairwise(path))
            ]
            return strength[rows, list(path)].sum() - sum(jumps)

        best = max(itertools.product(range(3), repeat=5), key=worth)
        assert tuple(pitch._best_path(octaves, strength)) == best


def test_autocorrelation_is_the_sum_of_products_over_that_of_the_window():
    frames = np.random.default_rng(5).standard_normal((3, 100))
    window = np.hanning(100)
    found = pitch._normalised_autocorrelation(frames, 40)
    for row, frame in zip(found, frames, strict=True):
        raw, own = (
            np.array([x[: 100 - lag] @ x[lag:] for lag in range(40)])
            for x in ((frame - frame.mean()) * window, window)
        )
        np.testing.assert_allclose(row, raw / raw[0] / (own / own[0]), atol=1e-12)
