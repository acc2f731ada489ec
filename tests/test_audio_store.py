"""Decoded audio is kept exactly, found again, decoded anew when a file changes; the unreadable is listed."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser import audio_store
from multimodal_ser.audio import load
from multimodal_ser.audio_store import FULL_SCALE, decode
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Manifest, Utterance

RATE = 16_000
HALF_A_STEP = 0.5 / 32_768


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_767, length, dtype=np.int16)


def manifest_of(folder: Path, *names: str | None) -> Manifest:
    utterances = [Utterance(id=f"u{n}", corpus="c", audio=name, text="words") for n, name in enumerate(names)]
    return Manifest(Header("c"), utterances, folder)


@pytest.fixture
def recordings(tmp_path: Path) -> Manifest:
    """Five 16-bit recordings of 16 kHz."""
    for n in range(5):
        soundfile.write(tmp_path / f"{n}.wav", noise(1_000 + 100 * n, n), RATE, subtype="PCM_16")
    return manifest_of(tmp_path, *(f"{n}.wav" for n in range(5)))


def test_16_bit_recordings_at_16_khz_are_kept_bit_for_bit(recordings: Manifest, tmp_path: Path) -> None:
    store = decode(recordings, tmp_path / "cache")
    assert store.lengths.tolist() == [1_000, 1_100, 1_200, 1_300, 1_400]
    for n in range(5):
        assert np.array_equal(store[n], noise(1_000 + 100 * n, n))


def test_other_audio_is_what_load_gives_to_half_a_step(tmp_path: Path) -> None:
    stereo = np.random.default_rng(0).uniform(-0.9, 0.9, (44_100, 2))
    soundfile.write(tmp_path / "a.flac", stereo, 44_100, subtype="PCM_24")
    whole = manifest_of(tmp_path, "a.flac", "a.flac")
    whole.utterances[1] = replace(whole.utterances[1], start=0.25, end=0.75)
    store = decode(whole, tmp_path / "cache")
    for n, (start, end) in enumerate([(None, None), (0.25, 0.75)]):
        wanted = load(tmp_path / "a.flac", start, end)
        assert len(wanted) == len(store[n]) > 0
        assert np.abs(store[n] / FULL_SCALE - wanted).max() <= HALF_A_STEP + 1e-7


def test_what_is_louder_than_full_scale_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5, 1.0]), RATE, subtype="FLOAT")
    store = decode(manifest_of(tmp_path, "a.wav"), tmp_path / "cache")
    assert store[0].tolist() == [32_767, -32_768, 16_384, 32_767]


def test_an_utterance_without_audio_is_empty_beside_others_with_audio(
    recordings: Manifest, tmp_path: Path
) -> None:
    utterances = [replace(recordings.utterances[0], audio=None), *recordings.utterances[1:]]
    store = decode(replace(recordings, utterances=utterances), tmp_path / "cache")
    assert store.lengths.tolist() == [0, 1_100, 1_200, 1_300, 1_400]
    assert store[0].size == 0
    assert np.array_equal(store[1], noise(1_100, 1))


def test_a_manifest_of_texts_needs_no_audio_root(tmp_path: Path) -> None:
    store = decode(replace(manifest_of(tmp_path, None, None), root=None), tmp_path / "cache")
    assert store.lengths.tolist() == [0, 0]
    assert store[1].size == 0


def test_every_unreadable_file_of_every_shard_is_listed(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "SHARD", 2)
    for name in ("1.wav", "4.wav"):
        (tmp_path / name).write_bytes(b"no audio at all")
    with pytest.raises(
        InputError, match=r"(?s)2 utterances cannot be decoded.*1\.wav.*4\.wav.*--verify-audio"
    ):
        decode(recordings, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.int16"))) == 1, "only the shard without problems is kept"


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    loaded: list[str] = []

    def counting(path: str, *times: float | None) -> np.ndarray:
        loaded.append(Path(path).name)
        return load(path, *times)

    monkeypatch.setattr(audio_store, "load", counting)
    return loaded


def test_what_was_decoded_is_found_again(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decode(recordings, tmp_path / "cache")
    loaded = count_loads(monkeypatch)
    second = decode(recordings, tmp_path / "cache")
    assert loaded == []
    assert all(np.array_equal(first[n], second[n]) for n in range(5))


def test_a_file_that_changed_is_decoded_again(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "SHARD", 2)
    decode(recordings, tmp_path / "cache")
    loaded = count_loads(monkeypatch)
    soundfile.write(tmp_path / "3.wav", noise(1_300, 99), RATE, subtype="PCM_16")  # of the same size
    store = decode(recordings, tmp_path / "cache")
    assert loaded == ["2.wav", "3.wav"], "its shard, and nothing else"
    assert np.array_equal(store[3], noise(1_300, 99))


def test_other_times_are_other_audio(recordings: Manifest, tmp_path: Path) -> None:
    decode(recordings, tmp_path / "cache")
    cut = [replace(u, start=0.01, end=0.02) for u in recordings.utterances]
    assert set(decode(replace(recordings, utterances=cut), tmp_path / "cache").lengths) == {160}


def test_an_interrupted_decoding_goes_on_behind_its_last_whole_shard(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "SHARD", 2)

    def interrupted(path: str, *times: float | None) -> np.ndarray:
        if path.endswith("3.wav"):
            raise KeyboardInterrupt
        return load(path, *times)

    monkeypatch.setattr(audio_store, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode(recordings, tmp_path / "cache")
    loaded = count_loads(monkeypatch)
    decode(recordings, tmp_path / "cache")
    assert loaded == ["2.wav", "3.wav", "4.wav"]


def test_a_map_that_was_cut_off_is_made_again(recordings: Manifest, tmp_path: Path) -> None:
    decode(recordings, tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.int16")
    path.write_bytes(path.read_bytes()[:-100])
    assert np.array_equal(decode(recordings, tmp_path / "cache")[4], noise(1_400, 4))


def test_rows_are_the_audio_of_those_utterances_in_that_order(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "SHARD", 2)
    part = decode(recordings, tmp_path / "cache").rows([4, 0, 2])
    assert part.lengths.tolist() == [1_400, 1_000, 1_200]
    assert np.array_equal(part[0], noise(1_400, 4))
    assert np.array_equal(part.rows([2])[0], noise(1_200, 2)), "rows of rows"


def test_a_store_goes_to_another_process_without_its_audio(recordings: Manifest, tmp_path: Path) -> None:
    store = decode(recordings, tmp_path / "cache")
    assert store[2].size  # opens the map
    sent = pickle.dumps(store)
    assert len(sent) < 2_000
    assert np.array_equal(pickle.loads(sent)[2], noise(1_200, 2))


@pytest.mark.slow  # starts processes
def test_several_processes_decode_the_same_in_the_same_order(
    recordings: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "CLIPS_WORTH_A_PROCESS", 1)
    store = decode(recordings, tmp_path / "cache", jobs=2)
    assert all(np.array_equal(store[n], noise(1_000 + 100 * n, n)) for n in range(5))
