"""From sound to passages: windows around speech, memory that stays flat, and results that are found again."""

import json
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from multimodal_ser.audio import SAMPLE_RATE, AudioError, encode, load
from multimodal_ser.transcripts.asr import AsrOptions, Heard
from multimodal_ser.transcripts.cues import Cue, Word
from multimodal_ser.transcripts.listening import LONGEST_GAP, Cut, Listener, speech_windows
from multimodal_ser.transcripts.speech import EnergyDetector, SpeechOptions, speech_spans

SECOND = SAMPLE_RATE


class Counting:
    """A recogniser that says how long a window is, and counts what it was given."""

    name, identity = "scripted-1", "scripted:1:fp32"

    def __init__(self, **options) -> None:
        self.options = AsrOptions(**options)
        self.batches: list[list[int]] = []

    def transcribe(self, windows):
        self.batches.append([len(window) for window in windows])
        return [Heard((self._cue(len(window) / SECOND),), "en") for window in windows]

    def _cue(self, seconds: float) -> Cue:
        return Cue(0.5, 1.0, f"{seconds:.2f} s", words=(Word("x", 0.5, 0.75, 0.9),), avg_logprob=-0.25)


def speaking(seconds: float, seed: int = 0) -> np.ndarray:
    """Loud noise in syllables, which the energy detector takes for speech."""
    size = round(seconds * SECOND)
    times = np.arange(size) / SECOND
    noise = np.random.default_rng(seed).standard_normal(size)
    return (0.1 * noise * (0.2 + np.abs(np.sin(2 * np.pi * 2 * times)))).astype(np.float32)


def silent(seconds: float) -> np.ndarray:
    return (1e-4 * np.random.default_rng(9).standard_normal(round(seconds * SECOND))).astype(np.float32)


def windows_of(*parts, options=None):
    waveform = np.concatenate(parts)
    return waveform, list(speech_windows([waveform], EnergyDetector(), options))


def test_windows_hold_all_speech_in_whole_spans_and_fit_the_recogniser():
    parts = [part for n in range(12) for part in (speaking(7, n), silent(1))]
    waveform, windows = windows_of(silent(5), *parts)
    spans = list(speech_spans([waveform], EnergyDetector()))
    assert [span for window in windows for span in window.spans] == spans
    assert max(len(window.waveform) for window in windows) <= 30 * SECOND
    assert len(windows) == 4  # three times 7 s and the pauses between fit into 30 s
    for window in windows:
        first = round(window.start * SECOND)
        np.testing.assert_array_equal(window.waveform, waveform[first : first + len(window.waveform)])


def test_long_silence_is_left_out_and_short_pauses_stay():
    _, windows = windows_of(speaking(3), silent(1.5), speaking(3), silent(LONGEST_GAP + 1), speaking(3))
    assert [len(window.spans) for window in windows] == [2, 1]
    assert [len(window.waveform) / SECOND for window in windows] == pytest.approx([7.5, 3], abs=0.4)


def test_speech_without_a_pause_is_cut_to_fit():
    waveform, windows = windows_of(silent(2), speaking(100))
    assert max(len(window.waveform) for window in windows) <= 30 * SECOND
    assert 99 * SECOND < sum(len(window.waveform) for window in windows) <= len(waveform)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_recording():
    def peak(minutes: int) -> int:
        def blocks():
            for n in range(minutes):
                yield speaking(40, n)
                yield silent(20)

        tracemalloc.start()
        count = sum(1 for _ in Listener(Counting(), EnergyDetector()).stream(blocks()))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count >= minutes
        return size

    assert peak(40) < 1.25 * peak(10)


def test_times_count_from_the_start_of_the_recording():
    blocks = [silent(4), speaking(3)]
    [passage] = Listener(Counting(), EnergyDetector()).stream(blocks, start=100.0)
    assert passage.start == pytest.approx(103.9, abs=0.1)
    [cue] = passage.cues
    assert (cue.start, cue.end) == pytest.approx((passage.start + 0.5, passage.start + 1.0))
    assert (cue.words[0].start, cue.words[0].end) == pytest.approx(
        (passage.start + 0.5, passage.start + 0.75)
    )
    assert passage.spans[0].start == pytest.approx(passage.start)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    encode(path, np.concatenate([silent(2), speaking(3), silent(5), speaking(4)]))
    return path


def listener(tmp_path, **changes) -> Listener:
    return replace(Listener(Counting(), EnergyDetector(), SpeechOptions(), tmp_path / "cache"), **changes)


def test_a_result_is_found_again_wherever_the_same_sound_lies(tmp_path, recording):
    first = listener(tmp_path)
    passages = first.listen(Cut(recording))
    assert len(passages) == 2
    moved = tmp_path / "elsewhere" / "b.wav"
    moved.parent.mkdir()
    shutil.move(recording, moved)
    second = listener(tmp_path)
    assert second.listen(Cut(moved)) == passages
    assert first.transcriber.batches
    assert not second.transcriber.batches


@pytest.mark.parametrize("what", ["sound", "cut", "options", "weights", "speech"])
def test_another_sound_cut_option_weight_or_threshold_is_heard_anew(tmp_path, recording, what):
    listener(tmp_path).listen(Cut(recording))
    again, cut = listener(tmp_path), Cut(recording)
    if what == "sound":
        encode(recording, np.concatenate([silent(2), speaking(3.5)]))
    elif what == "cut":
        cut = Cut(recording, 1.0, 6.0)
    elif what == "options":
        again = replace(again, transcriber=Counting(language="en"))
    elif what == "weights":
        again.transcriber.identity = "scripted:2:fp32"
    else:
        again = replace(again, speech=SpeechOptions(pause=0.5))
    again.listen(cut)
    assert again.transcriber.batches


def test_the_size_of_batches_does_not_make_a_result_another_one(tmp_path, recording):
    listener(tmp_path, transcriber=Counting(batch_size=8)).listen(Cut(recording))
    again = listener(tmp_path, transcriber=Counting(batch_size=2))
    again.listen(Cut(recording))
    assert not again.transcriber.batches


def test_damaged_results_are_heard_again(tmp_path, recording):
    passages = listener(tmp_path).listen(Cut(recording))
    [kept] = (tmp_path / "cache").rglob("*.json")
    whole = kept.read_text(encoding="utf-8")
    for damaged in (whole[:-20], "[]}", '[{"start": 1}]', json.dumps([1, 2])):
        kept.write_text(damaged, encoding="utf-8")
        again = listener(tmp_path)
        assert again.listen(Cut(recording)) == passages
        assert again.transcriber.batches


def test_several_cuts_share_batches_and_a_bad_file_does_not_stop_the_others(tmp_path, recording):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF of nothing")
    cuts = [Cut(recording, 0.0, 6.0), Cut(bad), Cut(tmp_path / "none.wav"), Cut(recording, 8.0, 14.0)]
    several = listener(tmp_path)
    first, wrong, missing, last = several.listen_to(cuts)
    assert [len(batch) for batch in several.transcriber.batches] == [2]
    assert 1.8 < first[0].start < 2.1
    assert 9.8 < last[0].start < 10.1
    assert isinstance(wrong, AudioError)
    assert "none.wav" in str(missing)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        several.listen(Cut(bad))


def test_a_cut_is_heard_as_the_same_stretch_alone(tmp_path, recording):
    waveform = load(recording, 8.0, 14.0)
    encode(tmp_path / "alone.wav", waveform)
    [cut] = listener(tmp_path, cache=None).listen(Cut(recording, 8.0, 14.0))
    [alone] = listener(tmp_path, cache=None).listen(Cut(tmp_path / "alone.wav"))
    assert cut.start - alone.start == pytest.approx(8.0)
    assert cut.cues[0].text == alone.cues[0].text
