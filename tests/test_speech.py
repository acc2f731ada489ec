"""Speech detection: against planted truth, against the package itself, and on what is not speech."""

import importlib.util
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from multimodal_ser.audio import SAMPLE_RATE, load
from multimodal_ser.corpora.episode import jingle, make_episode
from multimodal_ser.errors import InputError
from multimodal_ser.noises import babble, pink, white
from multimodal_ser.transcripts import silero, speech
from multimodal_ser.transcripts.speech import (
    FRAME,
    FRAME_SECONDS,
    Span,
    SpanTracker,
    SpeechOptions,
    detector_named,
    speech_share,
    speech_spans,
)

needs_silero = pytest.mark.skipif(
    not silero.is_installed(), reason="silero-vad (extra [vad]) is not installed"
)
DETECTORS = [pytest.param("silero", marks=needs_silero), "energy"]


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    path = tmp_path_factory.mktemp("episode") / "episode.wav"
    made = make_episode(path, minutes=1.5, speakers=3, seed=1, sample_rate=SAMPLE_RATE, transcripts=())
    return made, load(path)


def marked(spans, seconds: float) -> np.ndarray:
    """Hundredths of a second that lie in spans."""
    marks = np.zeros(round(100 * seconds) + 1, bool)
    for start, end in spans:
        marks[round(100 * start) : round(100 * end)] = True
    return marks


def planted(episode, kind: str) -> np.ndarray:
    return marked([(e.start, e.end) for e in episode.events if e.kind == kind], episode.seconds)


@pytest.mark.parametrize("name", DETECTORS)
def test_planted_speech_is_found_and_besides_only_music(episode, name):
    made, waveform = episode
    found = marked(speech_spans([waveform], detector_named(name)), made.seconds)
    truth, music = planted(made, "speech"), planted(made, "jingle")
    assert (found & truth).sum() / truth.sum() > 0.97
    assert (found & truth).sum() / (found & ~music).sum() > 0.93
    assert found[planted(made, "silence")].mean() < 0.05


@needs_silero
def test_silero_passes_over_the_jingle_and_energy_does_not_claim_to(episode):
    made, waveform = episode
    music = planted(made, "jingle")
    assert marked(speech_spans([waveform], detector_named("silero")), made.seconds)[music].mean() < 0.05
    assert marked(speech_spans([waveform], detector_named("energy")), made.seconds)[music].mean() > 0.9


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("sound", ["zeros", "white", "quiet white", "pink"])
def test_silence_and_steady_noise_hold_no_speech(name, sound):
    rng, size = np.random.default_rng(3), 20 * SAMPLE_RATE
    noise = {
        "zeros": np.zeros(size),
        "white": 0.1 * white(size, rng),
        "quiet white": 0.0003 * white(size, rng),
        "pink": 0.1 * pink(size, rng) / np.std(pink(size, rng)),
    }[sound]
    assert list(speech_spans([noise.astype(np.float32)], detector_named(name))) == []


@needs_silero
def test_silero_hears_no_speech_in_music_and_little_in_babble():
    detector = detector_named("silero")
    assert list(speech_spans([jingle(), jingle()], detector)) == []
    noise = babble(20 * SAMPLE_RATE, np.random.default_rng(0))
    noise = (0.05 * noise / noise.std()).astype(np.float32)
    assert speech_share(0, 20, speech_spans([noise], detector)) < 0.5


@pytest.mark.parametrize("name", DETECTORS)
def test_spans_do_not_depend_on_how_the_stream_is_cut(episode, name):
    _, waveform = episode
    waveform = waveform[: 35 * SAMPLE_RATE + 123]
    cuts = np.sort(np.random.default_rng(0).integers(0, len(waveform), 50))
    whole = list(speech_spans([waveform], detector_named(name)))
    pieces = list(speech_spans(np.split(waveform, cuts), detector_named(name)))
    assert pieces == whole
    assert len(whole) > 2


@needs_silero
def test_scores_are_those_of_the_silero_package_frame_by_frame(episode):
    import torch

    _, waveform = episode
    waveform = waveform[5 * SAMPLE_RATE : 11 * SAMPLE_RATE]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        folder = Path(importlib.util.find_spec("silero_vad").origin).parent
        model = torch.jit.load(str(folder / "data" / "silero_vad.jit"))
    frames = torch.from_numpy(waveform[: len(waveform) // FRAME * FRAME]).view(-1, FRAME)
    with torch.inference_mode():
        expected = [model(frame, SAMPLE_RATE).item() for frame in frames]
    scores = np.concatenate(list(detector_named("silero").scores([waveform])))
    np.testing.assert_allclose(scores[: len(expected)], expected, atol=2e-4)
    assert max(expected) > 0.9
    assert min(expected) < 0.1


@needs_silero
def test_finding_speech_leaves_the_number_of_threads_alone():
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # the package itself would make it 1 by being imported
        list(speech_spans([np.zeros(SAMPLE_RATE, np.float32)], detector_named("silero")))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def spans_of(scores, **options) -> list[tuple[float, float]]:
    """Spans in frames, without margins."""
    tracker = SpanTracker(SpeechOptions(margin=0.0, **options))
    spans = tracker.push(scores) + tracker.finish(len(scores) * FRAME_SECONDS)
    return [(round(s.start / FRAME_SECONDS), round(s.end / FRAME_SECONDS)) for s in spans]


def test_a_short_pause_does_not_end_a_span_and_a_long_one_does():
    assert spans_of([0] * 5 + [1] * 10 + [0] * 9 + [1] * 10 + [0] * 20) == [(5, 34)]  # 9 frames: 0.288 s
    assert spans_of([0] * 5 + [1] * 10 + [0] * 10 + [1] * 10 + [0] * 20) == [(5, 15), (25, 35)]


def test_a_click_is_no_speech():
    assert spans_of([0] * 5 + [1] * 7 + [0] * 20) == []  # 0.224 s
    assert spans_of([0] * 5 + [1] * 8 + [0] * 20) == [(5, 13)]


def test_a_span_begins_high_and_goes_on_while_the_score_is_middling():
    assert spans_of([0.4] * 20 + [0.5] * 10 + [0.4] * 20 + [0.3] * 20) == [(20, 50)]


def test_speech_up_to_the_end_ends_there():
    assert spans_of([0] * 5 + [1] * 30) == [(5, 35)]


def test_speech_without_a_pause_is_cut_into_pieces_that_fit_and_nothing_is_lost():
    spans = spans_of(np.random.default_rng(0).uniform(0.5, 1, 3000), longest=28.0)
    assert len(spans) > 3
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert (spans[0][0], spans[-1][1]) == (0, 3000)
    assert max(end - start for start, end in spans) * FRAME_SECONDS <= 28.0


def test_the_quietest_frame_is_where_a_long_span_is_cut():
    scores = np.ones(1000)
    scores[700] = 0.4
    assert spans_of(scores, longest=28.0) == [(0, 700), (700, 1000)]


def test_margins_stay_inside_the_recording_and_spans_apart():
    tracker = SpanTracker(SpeechOptions(margin=0.1))
    scores = [1] * 20 + [0] * 10 + [1] * 20
    spans = tracker.push(scores) + tracker.finish(len(scores) * FRAME_SECONDS)
    assert spans[0] == pytest.approx((0.0, 20 * FRAME_SECONDS + 0.1))
    assert spans[1] == pytest.approx((30 * FRAME_SECONDS - 0.1, 50 * FRAME_SECONDS))


@pytest.mark.parametrize(
    ("start", "end", "share"), [(0, 10, 0.3), (1, 2, 1.0), (3, 5, 0.0), (1.5, 2.5, 0.5), (4, 4, 0.0)]
)
def test_the_share_of_speech_is_that_of_the_overlap(start, end, share):
    assert speech_share(start, end, [Span(1, 2), Span(6, 8)]) == pytest.approx(share)


def test_everything_is_speech_where_nothing_is_to_be_detected():
    zeros = np.zeros(3 * SAMPLE_RATE, np.float32)
    assert list(speech_spans([zeros], detector_named("none"))) == [Span(0.0, 3.0)]


def test_no_sound_has_no_speech():
    assert list(speech_spans([], detector_named("energy"))) == []


def test_without_silero_energy_takes_its_place_and_asking_for_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(silero, "is_installed", lambda: False)
    assert isinstance(detector_named("auto"), speech.EnergyDetector)
    with pytest.raises(InputError, match=r"needs the package silero-vad \(the extra \[vad\]\)"):
        detector_named("silero")


def test_an_unknown_detector_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"'silerro' \(did you mean 'silero'\?\); allowed: auto, silero"):
        detector_named("silerro")
