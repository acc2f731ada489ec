"""Live scoring: scripted sound through a pipe, a line for each segment soon after it has ended."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from tiny_checkpoints import save_ser_model

from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import Episode, make_episode
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.models.ser import SerModel
from multimodal_ser.podcast.engine import EngineOptions
from multimodal_ser.podcast.live import LiveScorer, Words, blocks_of
from multimodal_ser.podcast.live_segments import LATEST, Limits, LiveSegmenter
from multimodal_ser.podcast.segments import SegmentPolicy, segments_of, speech_cues
from multimodal_ser.transcripts.silero import SileroDetector, is_installed
from multimodal_ser.transcripts.speech import (
    FRAME_SECONDS,
    Span,
    SpeechOptions,
    detector_named,
    speech_spans,
)

DEADLINE = 2.0  # seconds


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ser_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    path = tmp_path_factory.mktemp("episode") / "talk.wav"
    return make_episode(path, minutes=0.8, seed=4, sample_rate=16_000, transcripts=("vtt",))


def pcm(waveform: np.ndarray) -> bytes:
    return (np.clip(waveform, -1, 32767 / 32768) * 32768).astype("<i2").tobytes()


def live(data: bytes, model: Path, monkeypatch, capsys, *options: str) -> list[dict]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", "--live", "--model", str(model), "--speech", "energy", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_line_comes_within_two_seconds_and_says_what_the_model_says_of_that_sound(
    episode: Episode, model: Path, monkeypatch, capsys
) -> None:
    sound = soundfile.read(episode.audio, dtype="float32")[0]
    lines = live(pcm(sound), model, monkeypatch, capsys)
    assert [line["id"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 5
    network = SerModel.from_pretrained(model)
    for line in lines:
        assert line["heard"] - line["end"] < DEADLINE
        assert (line["text_source"], line["scale"]) == ("none", "0-1")
        part = torch.from_numpy(sound[round(line["start"] * 16_000) : round(line["end"] * 16_000)])[None]
        with torch.inference_mode():
            encoded = network.encode(part, torch.tensor([part.shape[1]]), *network.text.tokenize([""]))
            alone = network.read(encoded, "audio")
        found = [line["dimensions"][name]["fused"] for name in DIMENSIONS]
        assert found == pytest.approx(alone.dimensions[0].tolist(), abs=1e-4)


def test_most_of_the_planted_speech_is_in_a_segment(
    episode: Episode, model: Path, monkeypatch, capsys
) -> None:
    sound = soundfile.read(episode.audio, dtype="float32")[0]
    lines = live(pcm(sound), model, monkeypatch, capsys)
    spoken = np.zeros(len(sound), bool)
    told = np.zeros(len(sound), bool)
    for event in episode.speech:
        spoken[round(event.start * 16_000) : round(event.end * 16_000)] = True
    for line in lines:
        told[round(line["start"] * 16_000) : round(line["end"] * 16_000)] = True
    assert (spoken & told).sum() / spoken.sum() > 0.8


def test_words_are_looked_up_by_their_time(episode: Episode, model: Path, monkeypatch, capsys) -> None:
    sound = soundfile.read(episode.audio, dtype="float32")[0]
    words = str(episode.files["vtt"])
    lines = live(pcm(sound), model, monkeypatch, capsys, "--live-transcript", words, "--scale", "1-7")
    read = [line for line in lines if line["text_source"] == "vtt"]
    assert len(read) > len(lines) / 2
    for line in read:
        assert 1 <= line["dimensions"]["valence"]["text"] <= 7
        near = [e for e in episode.speech if e.end > line["start"] and e.start < line["end"]]
        assert set(line["text"].split()) <= {word for event in near for word in event.text.split()}
        assert line["speaker"] in {event.speaker for event in near}


def test_a_transcript_that_grows_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "live.vtt"
    path.write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nHello there.\n")
    words = Words(path)
    assert words.between(0.0, 3.0)[0].text == "Hello there."
    assert words.between(4.0, 8.0)[0].text == ""
    with path.open("a") as file:
        file.write("\n00:05.000 --> 00:07.000\nGood bye.\n")
    assert words.between(4.0, 8.0)[0].text == "Good bye."
    path.write_text("<html>")  # somebody's accident
    assert words.between(4.0, 8.0)[0].text == "Good bye."


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_and_odd_blocks_give_the_same_sound(rate: int) -> None:
    wave = np.sin(np.arange(rate) * 2 * np.pi * 300 / rate).astype(np.float32) * 0.5

    class Pipe(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            return super().read1(min(size, 777))  # no whole number of samples

    found = np.concatenate(list(blocks_of(Pipe(pcm(wave)), rate)))
    wanted = soxr.resample(wave, rate, 16_000)
    assert len(found) == pytest.approx(len(wanted), abs=2)
    assert np.abs(found[500:-500] - wanted[500 : len(found) - 500]).max() < 1e-3


def scores_of(*spans: tuple[float, float], seconds: float) -> np.ndarray:
    scores = np.zeros(round(seconds / FRAME_SECONDS))
    for start, end in spans:
        scores[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = 1.0
    return scores


def told(*spans: tuple[float, float], seconds: float) -> list[tuple[Span, float]]:
    """Segments, and when they were told."""
    segmenter = LiveSegmenter(SegmentPolicy(), SpeechOptions())
    found = []
    for number, score in enumerate(scores_of(*spans, seconds=seconds)):
        found += [(span, (number + 1) * FRAME_SECONDS) for span in segmenter.push([score])]
    return found + [(span, seconds) for span in segmenter.finish(seconds)]


def test_a_whole_sentence_is_told_as_soon_as_the_pause_is_one() -> None:
    ((span, when),) = told((1.0, 4.0), seconds=10.0)
    assert span == pytest.approx((0.9, 4.1), abs=0.05)
    assert when == pytest.approx(4.3, abs=0.1)


@pytest.mark.parametrize(
    ("spans", "count"),
    [
        ([(1.0, 2.0), (3.0, 6.0)], 1),  # a tiny piece joins what follows
        ([(1.0, 2.0), (4.5, 8.0)], 2),  # unless that is too far away
        ([(1.0, 4.0), (5.0, 6.0)], 2),  # what has been told stays as it was
        ([(1.0, 1.1)], 0),  # a click
    ],
)
def test_tiny_pieces_look_ahead(spans: list, count: int) -> None:
    found = told(*spans, seconds=12.0)
    assert len(found) == count
    for span, when in found:
        assert when - span.end < DEADLINE


@pytest.mark.parametrize(
    ("cost", "longest", "cut"), [(0.002, 15.0, 1.5), (0.06, 15.0, 0.74), (0.13, 8.5, 0.5), (0.5, 3.0, 0.5)]
)
def test_a_slow_model_gets_segments_that_it_can_tell_in_time(cost: float, longest: float, cut: float) -> None:
    limits = Limits.of(15.0, cost)
    assert (limits.longest, limits.cut) == (pytest.approx(longest, abs=0.05), pytest.approx(cut, abs=0.01))
    segmenter = LiveSegmenter(SegmentPolicy(longest=limits.longest), SpeechOptions(), limits.cut)
    worst = 0.0
    for number in range(round(40 / FRAME_SECONDS)):
        for span in segmenter.push([0.9]):
            assert span.end - span.start <= limits.longest + FRAME_SECONDS
            worst = max(worst, (number + 1) * FRAME_SECONDS - span.end + cost * (span.end - span.start))
    assert worst > 0
    assert worst < LATEST or longest == 3.0  # too slow for any


def test_a_live_model_is_timed_and_what_it_means_is_said(model: Path, monkeypatch) -> None:
    monkeypatch.setattr(LiveScorer, "_timed", lambda scorer: 0.13)
    scorer = LiveScorer(model, EngineOptions(detector="energy"))
    assert "cut at 8.5 s, to be told within 2 s" in scorer.said
    scorer = LiveScorer(model, EngineOptions(detector="energy"), longest=15.0)
    assert "cut at 15 s, some are told more than 2 s later" in scorer.said
    monkeypatch.setattr(LiveScorer, "_timed", lambda scorer: 0.01)
    assert LiveScorer(model, EngineOptions(detector="energy")).said == ""


def test_speech_that_does_not_end_is_cut_in_time() -> None:
    found = told((0.5, 1.5), (2.5, 70.0), seconds=72.0)
    assert len(found) >= 5
    for span, when in found:
        assert span.end - span.start <= SegmentPolicy().longest + 1e-6
        assert when - span.end < DEADLINE
    covered = sum(span.end - span.start for span, _ in found)
    assert covered == pytest.approx(69.6, abs=0.3)


def test_speech_with_pauses_is_cut_as_a_recording_is(episode: Episode) -> None:
    spans = [(2.0 * n + 4.0 * n, 2.0 * n + 4.0 * n + 3.0 + n % 2) for n in range(8)]
    live = [span for span, _ in told(*spans, seconds=60.0)]
    # From here on as a recording is: the same scores, all at once.
    tracked = LiveSegmenter(SegmentPolicy(), SpeechOptions())
    tracked.push(scores_of(*spans, seconds=60.0))
    wanted = segments_of((), speech_cues(tracked.spoken), 60.0)
    assert [(s.start, s.end) for s in live] == [(cue.start, cue.end) for cue in wanted]


@pytest.mark.skipif(not is_installed(), reason="silero-vad is not installed")
def test_silero_hears_the_same_in_small_pieces(episode: Episode) -> None:
    sound = soundfile.read(episode.audio, dtype="float32", frames=15 * 16_000)[0]
    whole, pieces = SileroDetector(), detector_named("silero", 4)
    assert list(speech_spans([sound], pieces)) == list(speech_spans([sound], whole))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "100"], "--rate 100: must be"),
        (["-o", "out"], "leave out -o"),
        (["talk.mp3"], "one of them alone"),
        (["--live-transcript", "nowhere.vtt"], "no such transcript"),
    ],
)
def test_wrong_options_are_refused(options: list[str], said: str, model: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["score", "--live", "--model", str(model), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_terminal_is_no_sound() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(InputError, match="from a pipe, such as: ffmpeg"):
        blocks_of(Terminal(), 16_000)
