"""The synthetic podcast: its sound, its transcripts and its truth tell the same story."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.corpora import episode
from multimodal_ser.corpora.episode import Episode, Mood, jingle, make_episode
from multimodal_ser.corpora.episode_files import Event, rttm, srt, vtt
from multimodal_ser.errors import InputError

MINUTES = 2.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    path = tmp_path_factory.mktemp("episode") / "talk show.flac"
    return make_episode(path, minutes=MINUTES, speakers=3, seed=4, sample_rate=SAMPLE_RATE)


def level(waveform: np.ndarray, start: float, end: float) -> float:
    """Root mean square between two times, dBFS."""
    piece = waveform[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    return 20 * np.log10(np.sqrt(np.mean(piece**2)) + 1e-9)


def rows(made: Episode) -> list[dict[str, str]]:
    with made.files["csv"].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_episode_holds_music_talk_silence_and_cross_talk(made: Episode) -> None:
    kinds = [event.kind for event in made.events]
    assert kinds[0] == kinds[-1] == "jingle"
    assert {"speech", "silence"} <= set(kinds)
    assert {event.speaker for event in made.speech} == {"Ada", "Ben", "Clara"}
    overlaps = [a for a, b in zip(made.speech, made.speech[1:], strict=False) if b.start < a.end]
    assert overlaps
    assert made.seconds == pytest.approx(MINUTES * 60, abs=12)


def test_the_file_is_as_long_as_said_and_nothing_is_clipped(made: Episode) -> None:
    waveform, rate = soundfile.read(made.audio)
    assert rate == SAMPLE_RATE
    assert len(waveform) / rate == pytest.approx(made.seconds)
    assert made.events[-1].end == pytest.approx(made.seconds, abs=0.001)
    assert np.abs(waveform).max() < 1


def test_sound_is_where_the_timeline_says(made: Episode) -> None:
    waveform, _ = soundfile.read(made.audio)
    for event in made.events:
        loudness = level(waveform, event.start + 0.002, event.end - 0.002)  # times are whole milliseconds
        assert (loudness < -100) if event.kind == "silence" else (loudness > -50), event
    gaps = [(a.end, b.start) for a, b in zip(made.events, made.events[1:], strict=False) if b.start > a.end]
    assert len(gaps) > 5
    for start, end in gaps:
        assert level(waveform, start + 0.002, end - 0.002) < -100


def test_all_transcripts_agree_with_the_timeline(made: Episode) -> None:
    truth = [
        (float(row["start"]), float(row["end"]), row["speaker"], row["text"])
        for row in rows(made)
        if row["kind"] == "speech"
    ]
    assert truth == [(e.start, e.end, e.speaker, e.text) for e in made.speech]
    segments = json.loads(made.files["json"].read_text(encoding="utf-8"))["segments"]
    assert [(s["startTime"], s["endTime"], s["speaker"], s["body"]) for s in segments] == truth
    assert (
        list(cues(made.files["srt"], r"\d+\n(.*?),(\d+) --> (.*?),(\d+)\n(\w+): ([^>]*?)\n(?=\n|$)")) == truth
    )
    assert list(cues(made.files["vtt"], r"\n(.*?)\.(\d+) --> (.*?)\.(\d+)\n<v (\w+)>(.*?)</v>\n")) == truth


def cues(path: Path, pattern: str) -> Iterator[tuple[float, float, str, str]]:
    for match in re.finditer(pattern, path.read_text(encoding="utf-8"), flags=re.DOTALL):
        start, end = (
            sum(int(part) * unit for part, unit in zip(clock.split(":"), (3600, 60, 1), strict=True))
            for clock in (match[1], match[3])
        )
        yield start + int(match[2]) / 1000, end + int(match[4]) / 1000, match[5], " ".join(match[6].split())


def test_turns_cover_all_speech_of_their_speaker(made: Episode) -> None:
    turns = [line.split() for line in made.files["rttm"].read_text(encoding="utf-8").splitlines()]
    assert {len(turn) for turn in turns} == {10}
    assert {(turn[0], turn[1], turn[2]) for turn in turns} == {("SPEAKER", "talk_show", "1")}
    spans = [(turn[7], float(turn[3]), float(turn[3]) + float(turn[4])) for turn in turns]
    for event in made.speech:
        assert any(
            who == event.speaker and start <= event.start + 0.001 and event.end <= end + 0.001
            for who, start, end in spans
        )


def test_formats_are_written_as_their_specifications_say() -> None:
    events = [
        Event(0.0, 2.0, "jingle"),
        Event(3661.5, 3663.25, "speech", "Ada", "R&D is <fine>.", 0.1, 0.2, 0.3),
        Event(3663.5, 3664.0, "speech", "Ada", "Yes.", 0.1, 0.2, 0.3),
        Event(3665.5, 3666.0, "speech", "Ada", "No.", 0.1, 0.2, 0.3),
    ]
    assert srt(events[:2], "x") == "1\n01:01:01,500 --> 01:01:03,250\nAda: R&D is <fine>.\n"
    assert vtt(events[:2], "x") == (
        "WEBVTT\n\n01:01:01.500 --> 01:01:03.250\n<v Ada>R&amp;D is &lt;fine&gt;.</v>\n"
    )
    assert rttm(events, "my show") == (
        "SPEAKER my_show 1 3661.500 2.500 <NA> <NA> Ada <NA> <NA>\n"
        "SPEAKER my_show 1 3665.500 0.500 <NA> <NA> Ada <NA> <NA>\n"
    )


def test_the_timeline_has_truth_for_speech_and_nothing_else(made: Episode) -> None:
    for row in rows(made):
        values = [row[name] for name in ("arousal", "valence", "dominance")]
        if row["kind"] == "speech":
            assert all(0 <= float(value) <= 1 for value in values)
        else:
            assert not any([*values, row["speaker"], row["text"]])


def test_moods_drift_slowly_and_stay_in_range() -> None:
    """Correlation of an Ornstein-Uhlenbeck process falls to 1/e in MOOD_SECONDS."""
    values = []
    for seed in range(3000):
        mood = Mood(np.random.default_rng(seed))
        values.append([mood.moved_to(at)[0] for at in (0.0, episode.MOOD_SECONDS / 20, episode.MOOD_SECONDS)])
    now, soon, later = np.array(values).T
    assert now.mean() == pytest.approx(0.5, abs=0.02)
    assert np.std(now) == pytest.approx(0.9 / np.sqrt(12), abs=0.02)
    assert np.corrcoef(now, soon)[0, 1] > 0.9
    assert np.corrcoef(now, later)[0, 1] == pytest.approx(np.exp(-1), abs=0.06)


def test_the_same_seed_gives_the_same_episode(made: Episode, tmp_path: Path) -> None:
    again = make_episode(tmp_path / "a.flac", minutes=0.5, seed=4, sample_rate=SAMPLE_RATE)
    same = make_episode(tmp_path / "b.flac", minutes=0.5, seed=4, sample_rate=SAMPLE_RATE)
    other = make_episode(tmp_path / "c.flac", minutes=0.5, seed=5, sample_rate=SAMPLE_RATE)
    assert again.audio.read_bytes() == same.audio.read_bytes()
    assert again.events == same.events != other.events


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"), [("mp3", 16_000, 1), ("mp3", 44_100, 2), ("ogg", 24_000, 1)]
)
def test_a_compressed_episode_is_in_time_with_the_exact_one(
    suffix: str, rate: int, channels: int, tmp_path: Path
) -> None:
    options = {"minutes": 0.5, "seed": 1, "speakers": 2, "transcripts": ()}
    exact = make_episode(tmp_path / "exact.flac", sample_rate=SAMPLE_RATE, **options)
    coded = make_episode(tmp_path / f"coded.{suffix}", sample_rate=rate, channels=channels, **options)
    facts = soundfile.info(coded.audio)
    assert (facts.samplerate, facts.channels) == (rate, channels)
    assert coded.seconds == pytest.approx(exact.seconds, abs=0.001)
    assert coded.events == exact.events
    assert abs(lag(exact.audio, coded.audio, at=exact.speech[-1].start)) < 0.03


def lag(exact: Path, coded: Path, at: float) -> float:
    """Seconds by which `coded` comes later than `exact` around `at`, by envelopes in 1 ms steps."""
    envelopes = []
    for path in (exact, coded):
        waveform, rate = soundfile.read(path, always_2d=True)
        energy = np.add.reduceat(waveform[:, 0] ** 2, np.arange(0, len(waveform), rate / 1000).astype(int))
        piece = np.sqrt(energy)[int(at * 1000) - 1500 : int(at * 1000) + 1500]
        envelopes.append(piece - piece.mean())
    return (np.argmax(correlate(envelopes[1], envelopes[0])) - len(envelopes[0]) + 1) / 1000


def test_mixing_in_blocks_is_the_sum_of_the_pieces_and_holds_little() -> None:
    rng = np.random.default_rng(0)
    pieces, clock = [], 0
    for _ in range(60):
        length = int(rng.uniform(2, 6) * SAMPLE_RATE)
        pieces.append((clock, rng.standard_normal(length).astype(np.float32), 0.5))
        clock += length + int(rng.uniform(-episode.OVERLAP[1], 1.0) * SAMPLE_RATE)
    whole = np.zeros(max(start + len(sound) for start, sound, _ in pieces), np.float32)
    for start, sound, _ in pieces:
        whole[start : start + len(sound)] += sound

    class Script:
        def pieces(self) -> Iterator[tuple[int, np.ndarray, float]]:
            return iter(pieces)

    blocks = list(episode._mixed(Script(), 1))
    assert [is_last for _, is_last in blocks] == [False] * (len(blocks) - 1) + [True]
    np.testing.assert_allclose(np.concatenate([block for block, _ in blocks])[:, 0], whole, atol=1e-6)
    assert len(blocks) > 10
    assert max(len(block) for block, _ in blocks) < 2 * episode._BLOCK * SAMPLE_RATE


def test_the_jingle_is_music_that_fades_out() -> None:
    sound = jingle()
    assert len(sound) == episode.JINGLE_SECONDS * SAMPLE_RATE
    first = np.abs(np.fft.rfft(sound[: SAMPLE_RATE // 4]))
    assert np.argmax(first) * 4 == pytest.approx(2 * 261.6, abs=8) or np.argmax(first) * 4 == pytest.approx(
        261.6 / 2, abs=8
    )
    assert np.abs(sound[-100:]).max() < 0.01 * np.abs(sound).max()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.mp4", {}, "unknown suffix '.mp4'; known: .mp3, .flac, .wav, .ogg"),
        ("x.mp3", {"minutes": 0.2}, "0.2 minutes: must be at least 0.5"),
        ("x.mp3", {"minutes": float("nan")}, "nan minutes"),
        ("x.mp3", {"speakers": 9}, "9 speakers: must be 1 to 8"),
        ("x.mp3", {"sample_rate": 12_345}, "sampling rate 12345: must be one of 16000"),
        ("x.mp3", {"channels": 3}, "3 channels: must be 1 or 2"),
        ("x.mp3", {"transcripts": ("srt", "doc")}, "unknown transcript format 'doc'; known: srt, vtt"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make_episode(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
