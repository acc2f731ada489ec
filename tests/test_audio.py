"""Decoding: every format, every cut, every refusal, against closed forms and the wav original."""

import contextlib
import math
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from scripts import RECIPES, load_script

from multimodal_ser import audio
from multimodal_ser.errors import InputError

RECIPE = RECIPES / "benchmarks" / "decoding.py"
DATA = Path(__file__).parents[2] / "shared" / "data"
RATE = 44_100
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "mp4", "mkv", "webm")
# The noise bands of AAC are random numbers (perceptual noise substitution), other ones in every decode.
RANDOM = ("m4a", "mp4", "mkv")
SAID = {
    "missing": "no such file; check its spelling",
    "missing folder": "the folder '.*nowhere' does not exist",
    "a folder": "is a folder; give a sound file in it",
    "unreadable": "cannot be opened: Permission denied",
    "empty": "is empty .0 bytes.; the download or copy did not start",
    "no samples": "holds no sound: 0 samples; probably a recording that was never finished",
    "zero bytes": "nothing but zero bytes",
    "text renamed": "is text, not sound .it starts 'It was a dark and stormy",
    "web page": "is a web page; the download address led to",
    "archive": "is a ZIP archive; unpack it first",
    "Git-LFS stub": "is a Git-LFS stub, not the sound itself; run `git lfs pull`",
    "noise bytes": "neither libsndfile nor FFmpeg finds sound in it",
    "video without sound": "has no sound: it holds only video",
    "NaN": r"NaN at 3\.000 s",
    "Inf": r"an infinite value at 3\.000 s",
    "100 hours in a kilobyte": "promises 360,000 s of sound but the file has 1,044 bytes",
    "40 channels": "has 40 channels; 1 to 32 are allowed",
    "rate 0": "its header says a sampling rate of 0 Hz",
    "half an m4a": r"its index \(moov\) is missing; an unfinished download",
}
HALVES = {
    "wav": 10.0,
    "flac": 10.0,
    "mp3": 10.0,
    "ogg": 10.0,
    "opus": 10.0,
    "webm": 10.0,
}  # seconds left of 20


recipe = load_script(RECIPE)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same seven seconds in any format."""
    folder = tmp_path_factory.mktemp("clips")

    def make(kind: str) -> Path:
        path = folder / f"clip.{kind}"
        if not path.exists():
            rate = 48_000 if kind in ("opus", "webm") else RATE
            audio.encode(path, recipe.voice(7, rate), rate)
        return path

    return make


def tone(seconds: np.ndarray) -> np.ndarray:
    """A sum of two sines that every sampling rate from 8 kHz on can hold."""
    return 0.4 * np.sin(2 * np.pi * 441 * seconds) + 0.3 * np.sin(2 * np.pi * 1234.5 * seconds)


def lag(found: np.ndarray, wanted: np.ndarray) -> int:
    """By how many samples `found` comes after `wanted`."""
    size = 2 * max(len(found), len(wanted))
    product = np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size))
    best = int(np.argmax(np.fft.irfft(product)))
    return best if best < size // 2 else best - size


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_original_in_place_and_in_length(clips, kind: str) -> None:
    rate = 48_000 if kind in ("opus", "webm") else RATE
    wanted = resample_poly(recipe.voice(7, rate).mean(axis=1), 160, rate // 100)
    found = audio.load(clips(kind))
    block = recipe.FRAME.get(kind, 0) / rate * audio.SAMPLE_RATE
    both = min(len(found), len(wanted))
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert abs(len(found) - len(wanted)) <= block
    assert lag(found, wanted) == 0
    assert np.corrcoef(found[:both], wanted[:both])[0, 1] > (0.9999 if kind in ("wav", "flac") else 0.95)


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"]
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_every_kind_of_wav_keeps_level_and_sign(tmp_path: Path, subtype: str, container: str) -> None:
    path = tmp_path / "tone.wav"
    wanted = tone(np.arange(16_000) / 16_000)
    soundfile.write(path, wanted, 16_000, subtype=subtype, format=container)
    coarse = {"PCM_U8": 0.01, "ALAW": 0.02, "ULAW": 0.02}
    assert np.abs(audio.load(path) - wanted).max() < coarse.get(subtype, 1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_345, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_cut_starts_at_the_exact_instant_at_every_rate(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(np.arange(4 * rate) / rate), rate, subtype="FLOAT")
    for start, end in ((0.5, 1.0), (1.23456, 2.0), (2.7182818, 3.3)):
        first, last = round(start * 16_000), round(end * 16_000)
        found = audio.load(path, start, end)
        np.testing.assert_allclose(found, tone(np.arange(first, last) / 16_000), atol=2e-5)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 32_000, 44_100, 96_000])
@pytest.mark.parametrize("frames", [1, 7, 44_099, 100_003])
def test_length_is_the_duration_rounded_to_samples(tmp_path: Path, rate: int, frames: int) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.zeros(frames), rate)
    wanted = math.floor(frames * 16_000 / rate + 0.5)
    if wanted == 0:
        with pytest.raises(audio.AudioError, match="holds no sound"):
            audio.load(path)
        return
    assert len(audio.load(path)) == wanted


@pytest.mark.parametrize("kind", [*FORMATS, "aac", "headless.mp3"])
def test_a_cut_equals_the_slice_of_the_whole(clips, tmp_path: Path, kind: str) -> None:
    path = clips(kind) if kind in FORMATS else _bare(tmp_path / f"bare.{kind}")
    whole = audio.load(path)
    for start, end in ((0.0, 0.5), (0.3337, 1.7), (2.5, 3.0), (5.4321, 6.9)):
        first, last = round(start * 16_000), round(end * 16_000)
        cut = audio.load(path, start, end)
        assert len(cut) == last - first
        if kind in (*RANDOM, "aac"):
            assert np.corrcoef(cut, whole[first:last])[0, 1] > 0.999
        else:
            np.testing.assert_allclose(cut, whole[first:last], atol=1e-6)


def _bare(path: Path) -> Path:
    """Seven seconds in a stream without any header that says its length."""
    codec = "aac" if path.suffix == ".aac" else "libmp3lame"
    options = {} if codec == "aac" else {"write_xing": "0"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(recipe.voice(7, RATE).T[:1].copy(), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        fifo = av.AudioFifo()
        fifo.write(frame)
        while part := fifo.read(1152 if codec == "libmp3lame" else 1024):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def _late_burst(path: Path, at: float, rate: int = 16_000) -> np.ndarray:
    """Near-silence with a burst of noise at `at` seconds, as (S,)."""
    rng = np.random.default_rng(1)
    waveform = np.zeros(round((at + 5) * rate), np.float32)
    burst = slice(round((at + 1) * rate), round((at + 1.5) * rate))
    waveform[burst] = 0.3 * resample_poly(rng.standard_normal(rate // 8), 4, 1)
    audio.encode(path.with_suffix(".wav"), waveform, rate)
    return waveform


def _assert_same_cut(folder: Path, at: float, mode: str) -> None:
    path = folder / "long.mp3"
    waveform = _late_burst(path, at)
    with soundfile.SoundFile(
        path, "w", 16_000, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode, compression_level=0.5
    ) as file:
        for first in range(0, len(waveform), 160_000):
            file.write(waveform[first : first + 160_000])
    found, wanted = audio.load(path, at, at + 3), audio.load(path.with_suffix(".wav"), at, at + 3)
    assert len(found) == len(wanted) == 48_000
    assert abs(lag(found, wanted)) <= 0.030 * 16_000
    assert lag(found, wanted) == 0  # better than asked for
    path.unlink()
    path.with_suffix(".wav").unlink()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_a_late_cut_of_an_mp3_is_the_cut_of_the_wav(tmp_path: Path, mode: str) -> None:
    _assert_same_cut(tmp_path, 60.0, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_a_cut_after_an_hour_of_an_mp3_is_the_cut_of_the_wav(tmp_path: Path, mode: str) -> None:
    _assert_same_cut(tmp_path, 3600.0, mode)


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a", "opus"])
@pytest.mark.parametrize("block_seconds", [0.1, 1.3, 20.0])
def test_blocks_of_any_size_together_are_the_whole_bit_for_bit(
    clips, kind: str, block_seconds: float
) -> None:
    whole = audio.load(clips(kind), 0.2, 6.0)
    blocks = list(audio.stream(clips(kind), block_seconds, start=0.2, end=6.0))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * 16_000)}
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_channels_are_averaged_and_nothing_is_clipped_or_normalised(tmp_path: Path) -> None:
    path = tmp_path / "six.wav"
    wanted = 7 * tone(np.arange(4000) / 16_000)
    shares = np.array([3.0, -1.0, 0.5, 0.5, 2.0, 1.0])  # average 1
    soundfile.write(path, wanted[:, None] * shares, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", SAID)
def test_bad_input_is_refused_in_one_line_with_name_reason_and_cause(tmp_path: Path, kind: str) -> None:
    path = recipe.BAD[kind](tmp_path)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # so that another user than root comes as far as the file
    for use in (audio.load, lambda path: list(audio.stream(path)), audio.probe):
        if use is audio.probe and kind in ("NaN", "Inf"):
            continue  # only decoding can see them
        user = recipe.nobody() if kind == "unreadable" else contextlib.nullcontext()
        with user, pytest.raises(audio.AudioError, match=SAID[kind]) as caught:
            use(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, InputError)


def test_a_file_below_a_folder_that_may_not_be_entered_is_not_called_missing(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    message = "cannot be opened: Permission denied; check the permissions of the folders above it"
    try:
        with recipe.nobody(), pytest.raises(audio.AudioError, match=message):
            audio.load(folder / "voice.wav")
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("kind", HALVES)
def test_half_a_file_is_decoded_with_a_warning_that_says_where_it_breaks(tmp_path: Path, kind: str) -> None:
    path = recipe.BAD[f"half a{'n' if kind[0] in 'mo' else ''} {kind}"](tmp_path)
    whole = audio.load(tmp_path / f"whole_voice.{kind}")
    with pytest.warns(audio.AudioWarning, match=r"breaks off at \d+\.\d\d s") as caught:
        found = audio.load(path)
    said = float(str(caught[0].message).split("breaks off at ")[1].split(" s")[0])
    assert len(caught) == 1
    assert said == pytest.approx(len(found) / 16_000, abs=0.03)
    assert len(found) / 16_000 == pytest.approx(len(whole) / 32_000, abs=1)  # an Ogg page holds up to 1 s
    np.testing.assert_allclose(found[:-800], whole[: len(found) - 800], atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio.load(path, 1.0, 2.0)  # what lies before the break is whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(audio.AudioError, match=r"breaks off before|but the sound lasts"):
            audio.load(path, 6.0, 6.5)


@pytest.mark.parametrize("kind", ["flac", "m4a"])
def test_sound_behind_damage_stays_in_its_place(clips, tmp_path: Path, kind: str) -> None:
    data = bytearray(clips(kind).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = np.random.default_rng(0).bytes(500)
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(data)
    with pytest.warns(audio.AudioWarning, match=r"damaged at [34]\.\d\d s; the stretch .* is silent"):
        found = audio.load(path)
    wanted = audio.load(clips(kind))
    assert len(found) == len(wanted)
    assert np.corrcoef(found[80_000:], wanted[80_000:])[0, 1] > 0.999


def test_an_mp3_with_something_spliced_in_is_read_to_its_end(clips, tmp_path: Path) -> None:
    path = tmp_path / "spliced.mp3"  # the header of the first part now says a third of the length
    path.write_bytes(clips("mp3").read_bytes() * 3)
    found, part = audio.load(path), audio.load(clips("mp3"))
    assert len(found) / 16_000 == pytest.approx(21, abs=0.3)
    assert audio.duration(path) == pytest.approx(21, abs=0.3)
    shift = lag(found[15 * 16_000 :], part)
    assert abs(shift + 16_000) < 0.3 * 16_000  # the third copy starts near 14 s


def test_a_pause_of_the_recorder_keeps_its_length(tmp_path: Path) -> None:
    path = tmp_path / "pause.mkv"
    waveform = recipe.voice(2, RATE).T[:1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16")
        for start in (0, 5):
            pcm = (waveform * 32_767).astype(np.int16)
            for first in range(0, pcm.shape[1] // 4410 * 4410, 4410):
                part = np.ascontiguousarray(pcm[:, first : first + 4410])
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.pts = RATE, start * RATE + first
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = audio.load(path)
    assert len(found) == pytest.approx(7 * 16_000, abs=400)
    assert np.abs(found[2 * 16_000 + 2000 : 5 * 16_000 - 2000]).max() < 1e-6
    assert abs(lag(found[5 * 16_000 - 8000 :], found[: 2 * 16_000]) - 8000) <= 160


def test_lengths_that_the_header_leaves_open_are_found(tmp_path: Path) -> None:
    data = recipe.wav_bytes(frames=4000)
    for claim in (0, 0xFFFFFFFF, 0x7FFFF000):  # written by programs that could not go back
        path = tmp_path / f"{claim}.wav"
        path.write_bytes(recipe.wav_bytes(frames=4000, claim=claim))
        assert len(audio.load(path)) == 4000
        assert audio.probe(path).frames == 4000
    odd = tmp_path / "odd.wav"  # RAVDESS has such a chunk: odd length and its padding before the data
    chunk = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    at = data.index(b"data")
    odd.write_bytes(data[:at] + chunk + data[at:])
    assert audio.probe(odd).frames == len(audio.load(odd)) == 4000
    flac = tmp_path / "open.flac"
    soundfile.write(flac, tone(np.arange(40_000) / 16_000), 16_000)
    head = bytearray(flac.read_bytes())
    head[21:26] = bytes([head[21] & 0xF0, 0, 0, 0, 0])  # total samples: unknown
    flac.write_bytes(head)
    assert audio.probe(flac).frames == len(audio.load(flac)) == 40_000
    np.testing.assert_allclose(
        audio.load(flac, 2.0, 2.1), tone(np.arange(32_000, 33_600) / 16_000), atol=1e-4
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_probe_says_what_decoding_finds(clips, kind: str) -> None:
    info = audio.probe(clips(kind))
    assert info.sampling_rate == (48_000 if kind in ("opus", "webm") else RATE)
    assert info.channels == 2
    assert info.seconds == info.frames / info.sampling_rate == audio.duration(clips(kind))
    assert info.seconds == pytest.approx(len(audio.load(clips(kind))) / 16_000, abs=0.03)


def test_the_first_sound_stream_of_a_video_is_taken_and_names_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "video.wav"  # an mkv by content
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        tracks = [container.add_stream("aac", rate=RATE, layout="mono") for _ in range(2)]
        for shade in range(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8))))
        for track, gain in zip(tracks, (1, 0), strict=True):
            part = np.ascontiguousarray(gain * recipe.voice(1, RATE).T[:1])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(track.encode(frame))
        for stream in (video, *tracks):
            container.mux(stream.encode(None))
    assert audio.probe(path).container == "matroska"
    assert np.abs(audio.load(path)).max() > 0.1


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (-0.5, None, "starts at -0.5 s; it must start at 0 s or later"),
        (math.nan, None, "starts at nan s"),
        (2.0, 2.0, "from 2.0 s to 2.0 s is empty; its end must lie after its start"),
        (2.0, math.nan, "is empty"),
        (1.0, 1.00001, "shorter than one sample"),
        (7.5, None, r"starts at 7\.50 s but the sound lasts 7\.00 s; the transcript or manifest"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(clips, start: float, end: float | None, said: str) -> None:
    for kind in ("wav", "m4a"):
        with pytest.raises(audio.AudioError, match=said):
            audio.load(clips(kind), start, end)


def test_an_end_after_the_sound_is_cut_silently_within_a_second_and_said_beyond(clips) -> None:
    assert len(audio.load(clips("wav"), 6.0, 7.4)) == 16_000
    with pytest.warns(audio.AudioWarning, match=r"should end at 9\.00 s but the sound ends at 7\.00 s"):
        assert len(audio.load(clips("wav"), 6.0, 9.0)) == 16_000


def test_nan_outside_the_cut_does_not_matter(tmp_path: Path) -> None:
    path = recipe.BAD["NaN"](tmp_path)  # at 3 s
    assert np.isfinite(audio.load(path, 0.0, 2.5)).all()
    assert np.isfinite(audio.load(path, 3.5)).all()


def test_a_playlist_cannot_make_us_open_another_file(clips, tmp_path: Path) -> None:
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:7,\n{clips('m4a')}\n")
    (tmp_path / "list.wav").write_bytes(
        b"ffconcat version 1.0\nfile " + str(clips("wav")).encode() + b"\n\x01"
    )
    for name in ("list.m3u8", "list.wav"):
        with pytest.raises(audio.AudioError):
            audio.load(tmp_path / name)


@pytest.mark.slow
def test_memory_stays_flat_over_hours(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("a process's peak memory is read from /proc")
    path = tmp_path / "hours.wav"
    size = 3 * 3600 * 16_000 * 2
    head = recipe.wav_bytes(frames=0, claim=size)
    with path.open("wb") as file:  # three hours of silence that take no room on the disk
        file.write(head)
        file.truncate(len(head) + size)
    script = (
        "import re, sys\n"
        "from multimodal_ser import audio\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "print(sum(len(block) for block in audio.stream(sys.argv[1])), peak() - before)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    samples, growth = map(int, out.stdout.split())
    assert samples == 3 * 3600 * 16_000
    assert growth / 1024 < 150  # MiB; all of it would be 659


def test_files_are_closed_also_when_a_stream_is_abandoned(clips) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files cannot be counted without /proc")
    before = len(list(folder.iterdir()))
    for _ in range(20):
        for kind in ("wav", "mp3", "m4a"):
            next(audio.stream(clips(kind), 1.0))
            audio.load(clips(kind), 1.0, 1.5)
            audio.probe(clips(kind))
    assert len(list(folder.iterdir())) <= before


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
def test_real_recordings_decode_whole_and_in_place() -> None:
    paths = [
        path for path in sorted((DATA / "longform").rglob("*")) if path.suffix in (".flac", ".mp3", ".wav")
    ]
    assert len(paths) >= 9
    for path in paths:
        whole, rate = soundfile.read(path, always_2d=True)
        wanted = resample_poly(whole.mean(axis=1), 160, rate // 100)
        found = audio.load(path)
        assert abs(len(found) - len(wanted)) <= 1
        assert np.corrcoef(found[: len(wanted)], wanted[: len(found)])[0, 1] > 0.999
        np.testing.assert_allclose(audio.load(path, 4.321, 5.0), found[69136:80000], atol=1e-6)
