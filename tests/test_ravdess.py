"""RAVDESS's reader on a miniature of the unpacked archives with every known trap."""

import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from multimodal_ser.corpora import checks, ravdess
from multimodal_ser.corpora.audio_files import AudioFacts
from multimodal_ser.corpora.reading import Reading, Remark
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

RATE = 48000
FILLER = 4044  # bytes of the chunk FLLR in front of the samples


def write_wav(path: Path, seed: int, channels: int = 1) -> None:
    """A 16-bit wav as the corpus has it: a filler chunk before the samples, and a low level."""
    samples = np.random.default_rng(seed).integers(-201, 202, (480, channels)).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, RATE, RATE * 2 * channels, 2 * channels, 16)
    chunks = [(b"fmt ", form), (b"FLLR", bytes(FILLER)), (b"data", samples)]
    body = b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


STEREO = "Actor_01/03-01-02-01-01-02-01.wav"
TAKE, SAME_TAKE = "Actor_07/03-01-03-01-02-01-07.wav", "Actor_07/03-01-03-01-02-02-07.wav"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "RAVDESS"
    write_wav(folder / "Actor_01/03-01-01-01-01-01-01.wav", seed=1)
    write_wav(folder / STEREO, seed=2, channels=2)
    write_wav(folder / TAKE, seed=3)
    shutil.copy(folder / TAKE, folder / SAME_TAKE)
    write_wav(folder / "Actor_24/03-01-08-02-02-02-24.wav", seed=4)
    write_wav(folder / "Actor_24/03-01-06-02-01-01-13.wav", seed=5)  # actor 13 in the folder of actor 24
    write_wav(folder / "Actor_24/03-01-01-02-01-01-24.WAV", seed=6)  # there is no strong neutral
    shutil.copytree(folder / "Actor_01", folder / "audio_speech_actors_01-24" / "Actor_01")
    write_wav(folder / "Audio_Song_Actors_01-24/Actor_01/03-02-05-01-01-01-01.wav", seed=7)
    write_wav(folder / "Actor_02/01-01-04-01-01-01-02.wav", seed=8)  # taken from a video
    write_wav(folder / "Actor_02/03-01-09-01-01-01-02.wav", seed=9)  # there is no ninth emotion
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._03-01-01-01-01-01-01.wav").write_bytes(b"left behind by macOS")
    (folder / "Actor_02/01-01-04-01-01-01-02.mp4").write_bytes(b"a video")
    return folder


def clip(audio: str, text: str, meta: tuple, **known: object) -> Utterance:
    identifier = Path(audio).stem
    return Utterance(
        id=identifier,
        corpus="ravdess",
        audio=audio,
        speaker=identifier[-2:],
        text=text,
        text_source="reference",
        label_source="acted",
        meta=dict(zip(("channel", "intensity", "statement", "repetition"), meta, strict=True)),
        **known,
    )


KIDS, DOGS = "Kids are talking by the door.", "Dogs are sitting by the door."
SPOKEN = [
    clip(
        "Actor_01/03-01-01-01-01-01-01.wav",
        KIDS,
        ("speech", "normal", 1, 1),
        gender="male",
        fold=1,
        emotion="neutral",
    ),
    clip(STEREO, KIDS, ("speech", "normal", 1, 2), gender="male", fold=1, emotion="calm"),
    clip(TAKE, DOGS, ("speech", "normal", 2, 1), gender="male", fold=4, emotion="happiness"),
    clip(SAME_TAKE, DOGS, ("speech", "normal", 2, 2), gender="male", fold=4, emotion="happiness"),
    clip(
        "Actor_24/03-01-01-02-01-01-24.WAV",
        KIDS,
        ("speech", "strong", 1, 1),
        gender="female",
        fold=6,
        emotion="neutral",
    ),
    clip(
        "Actor_24/03-01-06-02-01-01-13.wav",
        KIDS,
        ("speech", "strong", 1, 1),
        gender="male",
        fold=1,
        emotion="fear",
    ),
    clip(
        "Actor_24/03-01-08-02-02-02-24.wav",
        DOGS,
        ("speech", "strong", 2, 2),
        gender="female",
        fold=6,
        emotion="surprise",
    ),
]
SUNG = clip(
    "Audio_Song_Actors_01-24/Actor_01/03-02-05-01-01-01-01.wav",
    KIDS,
    ("song", "normal", 1, 1),
    gender="male",
    fold=1,
    emotion="anger",
)


def test_miniature_corpus_becomes_the_literal_table(corpus: Path) -> None:
    assert ravdess.read(corpus).utterances == SPOKEN


def test_song_is_kept_on_request(corpus: Path) -> None:
    assert ravdess.read(corpus, include_song=True).utterances == [*SPOKEN, SUNG]


def test_every_utterance_is_valid() -> None:
    assert [problems_of(utterance) for utterance in (*SPOKEN, SUNG)] == [[]] * 8


def test_what_is_left_out_is_listed_with_its_reason(corpus: Path) -> None:
    copies = "audio_speech_actors_01-24/Actor_01"
    assert ravdess.read(corpus).dropped == [
        Remark(
            "01-01-04-01-01-01-02",
            "sound of a video, not an audio-only recording",
            "Actor_02/01-01-04-01-01-01-02.wav",
        ),
        Remark(
            "03-01-09-01-01-01-02",
            "the name does not follow the corpus' pattern",
            "Actor_02/03-01-09-01-01-01-02.wav",
            failed=True,
        ),
        Remark(
            "03-02-05-01-01-01-01",
            "song, left out without --include-song",
            "Audio_Song_Actors_01-24/Actor_01/03-02-05-01-01-01-01.wav",
        ),
        Remark(
            "03-01-01-01-01-01-01",
            "a second copy of the same file name",
            f"{copies}/03-01-01-01-01-01-01.wav, kept Actor_01/03-01-01-01-01-01-01.wav",
        ),
        Remark(
            "03-01-02-01-01-02-01",
            "a second copy of the same file name",
            f"{copies}/03-01-02-01-01-02-01.wav, kept {STEREO}",
        ),
    ]


def flags(reading: Reading) -> set[tuple[str, str, str]]:
    return {(remark.id, remark.reason, remark.detail) for remark in reading.flagged}


def test_odd_files_are_flagged(corpus: Path) -> None:
    assert flags(ravdess.read(corpus)) == {
        ("03-01-02-01-01-02-01", "not mono", "2 channels"),
        ("03-01-06-02-01-01-13", "in another actor's folder; the name is believed", "Actor_24"),
        ("03-01-01-02-01-01-24", "strong neutral, which the corpus does not have", ""),
    }


def test_two_takes_with_the_same_bytes_are_flagged(corpus: Path) -> None:
    reading = ravdess.read(corpus)
    names = [utterance.audio for utterance in reading.utterances]
    facts = {name: AudioFacts(name, size=(corpus / name).stat().st_size) for name in names}
    assert checks.flag_same_audio(reading, corpus, facts)
    same = ("03-01-03-01-02-02-07", "same audio as another utterance", "03-01-03-01-02-01-07")
    assert [flag for flag in flags(reading) if flag[1].startswith("same")] == [same]


def test_an_unreadable_header_is_left_to_the_audio_checks(corpus: Path) -> None:
    (corpus / TAKE).write_bytes(b"not a wav")
    reading = ravdess.read(corpus)
    assert reading.utterances == SPOKEN
    assert "03-01-03-01-02-01-07" not in {remark.id for remark in reading.flagged}


def test_folds_share_no_actor_and_balance_gender() -> None:
    folds = {actor: ravdess._fold(actor) for actor in range(1, 25)}
    assert Counter(folds.values()) == dict.fromkeys(range(1, 7), 4)
    assert Counter(fold for actor, fold in folds.items() if actor % 2) == dict.fromkeys(range(1, 7), 2)


def test_published_counts() -> None:
    spoken = ravdess._expected(include_song=False)
    assert spoken == {**{f"fold{fold}": 240 for fold in range(1, 7)}, "total": 1440}
    assert ravdess._expected(include_song=True)["total"] == 1440 + 1012


def test_song_only_is_an_error_that_names_the_option(corpus: Path) -> None:
    with pytest.raises(InputError, match=r"only sung clips .*add --include-song"):
        ravdess.read(corpus / "Audio_Song_Actors_01-24")


def test_another_corpus_is_not_taken_for_this_one(tmp_path: Path) -> None:
    write_wav(tmp_path / "wav" / "03a01Fa.wav", seed=1)
    with pytest.raises(InputError, match=r"no RAVDESS clip in .*found wav/03a01Fa\.wav.*the right corpus"):
        ravdess.read(tmp_path)


def test_an_archive_that_is_not_unpacked_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="Is the archive unpacked"):
        ravdess.read(tmp_path)
