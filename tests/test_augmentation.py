"""Changes of sound against physics: frequencies, decibels, decay times and lags that can be computed."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from multimodal_ser import config, settings
from multimodal_ser.augmentation import (
    CODECS,
    TELEPHONE_BAND,
    Augmentation,
    AugmentationConfig,
    add_noise,
    change_gain,
    change_speed,
    reverberate,
    room_response,
    shift_pitch,
    through_codec,
    within_full_scale,
)
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, write
from multimodal_ser.noises import NOISES
from multimodal_ser.utterances import Utterance

RATE = 16_000
EVERYTHING = AugmentationConfig(
    speed=1.0, pitch=1.0, room=1.0, noise=1.0, gain=1.0, codec=1.0, codecs=tuple(CODECS)
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def voice(hertz: float = 150.0, seconds: float = 2.0, level: float = 0.02) -> np.ndarray:
    """Ten harmonics, the k-th with amplitude level / k."""
    times = np.arange(round(seconds * RATE)) / RATE
    return sum(level / k * np.sin(2 * np.pi * k * hertz * times + k) for k in range(1, 11)).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(np.asarray(waveform, dtype=np.float64) ** 2))


def decibels(ratio: float) -> float:
    return 10 * np.log10(ratio)


def spectrum(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and power of a windowed clip."""
    windowed = np.asarray(waveform, dtype=np.float64) * np.hanning(len(waveform))
    return np.fft.rfftfreq(len(windowed), 1 / RATE), np.abs(np.fft.rfft(windowed)) ** 2


def fundamental(waveform: np.ndarray) -> float:
    """The strongest frequency, by a parabola through the logarithm of the spectral peak."""
    frequencies, powers = spectrum(waveform)
    k = int(powers.argmax())
    a, b, c = np.log(powers[k - 1 : k + 2])
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * frequencies[1]


def centroid(waveform: np.ndarray) -> float:
    frequencies, powers = spectrum(waveform)
    return float((frequencies * powers).sum() / powers.sum())


def band_power(waveform: np.ndarray, low: float, high: float) -> float:
    frequencies, powers = spectrum(waveform)
    return float(powers[(frequencies >= low) & (frequencies < high)].sum())


def lag(changed: np.ndarray, original: np.ndarray) -> int:
    """Samples by which `changed` is late, where the two agree best."""
    size = 2 * len(original)
    product = np.fft.rfft(changed, size) * np.conj(np.fft.rfft(original, size))
    best = int(np.fft.irfft(product, size).argmax())
    return best - size if best > size // 2 else best


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.1, 1.37])
def test_speed_divides_the_length_and_multiplies_every_frequency(factor: float) -> None:
    clip = voice()
    changed = change_speed(clip, factor)
    assert changed.dtype == np.float32
    assert len(changed) == round(len(clip) / factor)
    assert fundamental(changed) == pytest.approx(150 * factor, rel=1e-3)
    assert centroid(changed) == pytest.approx(centroid(clip) * factor, rel=5e-3)


@pytest.mark.parametrize("semitones", [-12.0, -3.0, -0.5, 0.5, 3.0, 12.0])
def test_pitch_moves_the_fundamental_by_semitones_and_keeps_length_and_loudness(semitones: float) -> None:
    clip = voice(220.0)
    changed = shift_pitch(clip, semitones)
    assert changed.dtype == np.float32
    assert len(changed) == len(clip)
    cents = 1200 * np.log2(fundamental(changed) / fundamental(clip))
    assert cents == pytest.approx(100 * semitones, abs=5)
    assert power(changed) == pytest.approx(power(clip), rel=1e-4)


@pytest.mark.parametrize("semitones", [-4.0, 4.0])
def test_pitch_leaves_events_where_they_are(semitones: float) -> None:
    clip = np.zeros(2 * RATE, np.float32)
    clip[RATE : RATE + 4_000] = voice(220.0, 0.25)
    energy = np.asarray(shift_pitch(clip, semitones), dtype=np.float64) ** 2
    middle = (energy * np.arange(len(energy))).sum() / energy.sum() / RATE
    assert middle == pytest.approx(1.125, abs=0.012)


@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.5])
def test_the_response_of_a_room_falls_by_60_db_in_its_reverberation_time(
    seconds: float, generator: np.random.Generator
) -> None:
    tail = room_response(seconds, 0.0, generator)[1:]
    decay = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))  # Schroeder, 1965
    fell = [np.flatnonzero(decay < level)[0] / RATE for level in (-5, -35)]
    assert 2 * (fell[1] - fell[0]) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("ratio", [-3.0, 0.0, 12.0])
def test_direct_sound_stands_over_reverberation_by_the_ratio(
    ratio: float, generator: np.random.Generator
) -> None:
    response = room_response(0.3, ratio, generator)
    assert decibels(response[0] ** 2 / np.sum(response[1:] ** 2)) == pytest.approx(ratio, abs=1e-9)


def test_a_room_keeps_the_onset_within_a_millisecond_and_length_and_loudness(
    generator: np.random.Generator,
) -> None:
    clip = np.zeros(RATE, np.float32)
    clip[5_000:] = voice(seconds=11_000 / RATE)
    heard = reverberate(clip, room_response(0.6, 3.0, generator))
    assert heard.shape == clip.shape
    assert np.abs(heard[:5_000]).max() < 1e-6
    onset = np.flatnonzero(np.abs(heard) > 0.1 * np.abs(heard).max())[0]
    before = np.flatnonzero(np.abs(clip) > 0.1 * np.abs(clip).max())[0]
    assert abs(onset - before) < RATE / 1000
    assert power(heard) == pytest.approx(power(clip), rel=1e-5)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("ratio", [-5.0, 10.0, 40.0])
def test_noise_has_the_requested_ratio_to_the_speech(
    kind: str, ratio: float, generator: np.random.Generator
) -> None:
    clip = voice()
    noisy = add_noise(clip, NOISES[kind](len(clip), generator), ratio)
    added = noisy.astype(np.float64) - clip
    assert decibels(power(clip) / power(added)) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(("kind", "per_octave"), [("white", 0.0), ("pink", -3.0), ("babble", -9.0)])
def test_noises_fall_by_their_decibels_per_octave(
    kind: str, per_octave: float, generator: np.random.Generator
) -> None:
    noise = NOISES[kind](20 * RATE, generator)
    edges = [700, 1_400, 2_800, 5_600]
    # Octaves double in width, so that the power of an octave falls by 3 dB less than the density.
    octaves = [decibels(band_power(noise, low, 2 * low) / low) for low in edges[:-1]]
    slopes = np.diff(octaves)
    tolerance = 2.5 if kind == "babble" else 0.3
    assert slopes == pytest.approx(per_octave, abs=tolerance)


def test_babble_comes_in_syllables_and_white_noise_does_not(generator: np.random.Generator) -> None:
    def modulation(noise: np.ndarray) -> float:
        """Spread of the loudness over frames of 50 ms, relative to its mean."""
        loudness = np.sqrt(np.mean(noise[: len(noise) // 800 * 800].reshape(-1, 800) ** 2, axis=1))
        return float(loudness.std() / loudness.mean())

    assert modulation(NOISES["babble"](10 * RATE, generator)) > 0.15
    assert modulation(NOISES["white"](10 * RATE, generator)) < 0.05


def test_recorded_noise_is_cut_or_repeated_to_the_clip_and_has_the_ratio(
    tmp_path, generator: np.random.Generator
) -> None:
    times = np.arange(RATE // 2) / RATE
    soundfile.write(tmp_path / "hum.wav", 0.3 * np.sin(2 * np.pi * 3_000 * times), RATE)
    (tmp_path / "notes.txt").write_text("no sound")
    wanted = AugmentationConfig(noise=1.0, noise_ratios=(6.0, 6.0), noise_folder=str(tmp_path))
    for seconds in (0.2, 2.0):
        clip = voice(seconds=seconds)
        added = Augmentation(wanted)(clip, generator).astype(np.float64) - clip
        assert fundamental(added) == pytest.approx(3_000, abs=5)
        assert decibels(power(clip) / power(added)) == pytest.approx(6, abs=0.01)


@pytest.mark.parametrize("amount", [-12.0, 0.0, 6.0])
def test_gain_is_exact_in_decibels(amount: float) -> None:
    clip = voice()
    assert decibels(power(change_gain(clip, amount)) / power(clip)) == pytest.approx(amount, abs=1e-4)


@pytest.mark.parametrize("codec", ["telephone", "mobile"])
def test_telephone_codecs_keep_their_band_and_nothing_above(codec: str) -> None:
    noise = (0.05 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)
    passed = through_codec(noise, codec)
    low, high = TELEPHONE_BAND
    inside = band_power(passed, low + 50, high - 50)
    assert decibels(band_power(passed, 4_100, 8_000) / inside) < -60
    assert decibels(inside / band_power(noise, low + 50, high - 50)) == pytest.approx(0, abs=2)


def test_telephone_quantises_as_well_as_g711_does() -> None:
    clip = voice(400.0, level=0.2)
    passed = through_codec(clip, "telephone")
    middle = slice(RATE // 4, -RATE // 4)
    # 8-bit mu-law has about 38 dB for signals of usual level; harmonics above 3.4 kHz are not in it.
    in_band = sum(
        0.2 / k * np.sin(2 * np.pi * k * 400 * np.arange(len(clip)) / RATE + k) for k in range(1, 9)
    )
    error = passed[middle] - in_band[middle]
    assert decibels(power(in_band[middle]) / power(error)) > 33


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_keep_length_and_alignment(codec: str) -> None:
    noise = np.random.default_rng(1).standard_normal(RATE + 123)
    slow = np.convolve(noise, np.hanning(15) / 15, "same")  # below 2 kHz, in the band of all codecs
    clip = (0.1 * slow).astype(np.float32)
    passed = through_codec(clip, codec)
    assert passed.shape == clip.shape
    assert passed.dtype == np.float32
    assert abs(lag(passed, clip)) <= 2
    assert np.corrcoef(passed, clip)[0, 1] > 0.7


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 100, 399, 1_023, 1_024, 5_000])
def test_clips_of_any_length_come_through_everything(size: int) -> None:
    clip = voice()[:size]
    for seed in range(8):
        changed = Augmentation(EVERYTHING)(clip, np.random.default_rng(seed))
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert abs(len(changed) - size) <= 0.12 * size + 1
        assert (len(changed) > 0) == (size > 0)


def test_silence_stays_silence(generator: np.random.Generator) -> None:
    silence = np.zeros(RATE, np.float32)
    for codec in ("telephone", "mp3"):
        changed = Augmentation(replace(EVERYTHING, codecs=(codec,)))(silence, generator)
        assert np.abs(changed).max() < 1e-3


def test_nothing_is_clipped_a_loud_clip_is_turned_down_as_a_whole(generator: np.random.Generator) -> None:
    clip = voice(level=0.5) / np.abs(voice(level=0.5)).max()
    louder = Augmentation(AugmentationConfig(gain=1.0, gain_decibels=(6.0, 6.0)))(clip, generator)
    assert np.abs(louder).max() <= 1
    assert louder == pytest.approx(clip, abs=1e-6)
    wanted = AugmentationConfig(noise=1.0, noise_ratios=(0.0, 0.0))
    noisy = Augmentation(wanted)(clip, np.random.default_rng(0))
    assert np.abs(noisy).max() == pytest.approx(1)
    assert np.sum(np.abs(noisy) > 0.999) <= 2


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_do_not_overshoot_full_scale(codec: str) -> None:
    square = np.sign(voice(150.0)).astype(np.float32)
    wanted = AugmentationConfig(codec=1.0, codecs=(codec,))
    changed = Augmentation(wanted)(square, np.random.default_rng(0))
    assert np.abs(changed).max() <= 1


def test_turning_down_leaves_quiet_clips_alone() -> None:
    clip = voice()
    assert within_full_scale(clip) is clip


def test_the_generator_decides_everything() -> None:
    clip = voice()
    change = Augmentation(EVERYTHING)
    first, again, other = (change(clip, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    change(clip, np.random.default_rng(5))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_the_original_is_not_touched() -> None:
    clip = voice()
    kept = clip.copy()
    Augmentation(EVERYTHING)(clip, np.random.default_rng(0))
    assert np.array_equal(clip, kept)


def test_a_change_is_made_as_often_as_its_probability(generator: np.random.Generator) -> None:
    clip = voice(seconds=0.01)
    change = Augmentation(AugmentationConfig(gain=0.3, gain_decibels=(-6.0, -3.0)))
    changed = sum(not np.array_equal(change(clip, generator), clip) for _ in range(2_000))
    assert changed / 2_000 == pytest.approx(0.3, abs=0.04)  # four standard deviations


def test_amounts_fill_their_range(generator: np.random.Generator) -> None:
    clip = voice(seconds=0.01)
    change = Augmentation(AugmentationConfig(gain=1.0, gain_decibels=(-6.0, -2.0)))
    found = [decibels(power(change(clip, generator)) / power(clip)) for _ in range(400)]
    assert -6.001 < min(found) < -5.9
    assert -2.1 < max(found) < -1.999


def test_workers_get_the_same_change() -> None:
    change = Augmentation(EVERYTHING)
    clip = voice(seconds=0.5)
    copied = pickle.loads(pickle.dumps(change))
    assert np.array_equal(change(clip, np.random.default_rng(1)), copied(clip, np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": 1.5}, r"augmentation.speed = 1.5: a probability from 0 to 1"),
        ({"speed_factors": (1.1, 0.9)}, r"speed_factors = \[1.1, 0.9\]: two numbers, the smaller first"),
        ({"speed_factors": (0.1, 0.9)}, r"from 0.5 to 2"),
        ({"pitch_semitones": (1.0,)}, r"pitch_semitones = \[1.0\]: two numbers"),
        ({"room_seconds": (0.0, 0.5)}, r"room_seconds = .*from 0.01 to 5"),
        (
            {"noise_kinds": ("wite",)},
            r"unknown 'wite' \(did you mean 'white'\?\); known: white, pink, babble",
        ),
        ({"codecs": ()}, r"codecs is empty; known: telephone"),
    ],
)
def test_wrong_settings_are_explained(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AugmentationConfig(**wrong)


def test_a_folder_without_sounds_is_refused_when_it_would_be_used(tmp_path) -> None:
    with pytest.raises(InputError, match=r"noise_folder = '.*': no sound files there \(\.flac"):
        Augmentation(AugmentationConfig(noise=0.5, noise_folder=str(tmp_path)))
    Augmentation(AugmentationConfig(noise_folder=str(tmp_path)))


class Captured(Exception):
    """Carries what a training would have been given."""


def test_an_experiment_changes_training_and_never_development(tmp_path, monkeypatch) -> None:
    utterances = [
        Utterance(id=f"{split}{n}", corpus="c", split=split, text=f"word{n} again and again", arousal=n / 9)
        for split in ("train", "development")
        for n in range(8)
    ]
    write(tmp_path / "manifest.jsonl", Header(corpus="c"), utterances)
    experiment = settings.parse(
        config.RunConfig,
        {
            "data": {
                "manifest": str(tmp_path / "manifest.jsonl"),
                "augmentation": {"speed": 0.5, "speed_factors": [0.95, 1.05]},
                "transcripts": {"corrupted": 1.0, "word_error_rate": [1.0, 1.0]},
            },
            "model": {"fusion": "text", "text": {"encoder": "small", "width": 16, "blocks": 1}, "width": 16},
        },
    )

    def capture(objective, training, development, *others):
        raise Captured(training, development)

    monkeypatch.setattr(config, "train", capture)
    with pytest.raises(Captured) as caught:
        config.run(experiment, tmp_path / "run")
    training, development = caught.value.args
    assert training.change_audio.config.speed_factors == (0.95, 1.05)
    assert development.change_audio is None
    assert development.change_text is None
    said = training.change_text("word1 again and again", np.random.default_rng(0)).split()
    assert said != ["word1", "again", "and", "again"]
