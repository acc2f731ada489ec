"""JSON of the tools that write it: by their own writers where they are installed, else as they wrote it."""

import json
from pathlib import Path

import pytest
from whisper.utils import get_writer

from multimodal_ser.corpora.episode_files import Event, podcast_json
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Transcript, Word
from multimodal_ser.transcripts.reading import read_transcript

REAL = Path(__file__).parents[2] / "shared" / "data" / "longform" / "podcast_transcript_examples"
# As whisper.transcribe returns it, less the tokens.
WHISPER = {
    "text": " Hello there.",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 2.5,
            "text": " Hello there.",
            "tokens": [50364, 2425],
            "temperature": 0.0,
            "avg_logprob": -0.25,
            "compression_ratio": 0.75,
            "no_speech_prob": 0.125,
            "words": [
                {"word": " Hello", "start": 0.0, "end": 1.0, "probability": 0.5},
                {"word": " there.", "start": 1.2, "end": 2.5, "probability": 1.0},
            ],
        }
    ],
    "language": "en",
}
WHISPER_CUE = Cue(
    0.0,
    2.5,
    "Hello there.",
    None,
    (Word("Hello", 0.0, 1.0, 0.5), Word("there.", 1.2, 2.5, 1.0)),
    0.75,
    -0.25,
    0.125,
    0.75,
    "segment 1",
)
WHISPERX = (
    '{"language": "en", "segments": [{"start": 0.5, "end": 2.25, "text": " Hello there, Bob.", "speaker": '
    '"SPEAKER_00", "words": [{"word": "Hello", "start": 0.5, "end": 0.9, "score": 0.91, "speaker": '
    '"SPEAKER_00"}, {"word": "there,", "start": 1.0, "end": 1.3, "score": 0.8, "speaker": "SPEAKER_00"}, '
    '{"word": "Bob.", "start": 1.5, "end": 2.25, "score": 0.99, "speaker": "SPEAKER_00"}]}, {"start": 2.5, '
    '"end": 4.0, "text": '
    '" In 1984?", "speaker": "SPEAKER_01", "words": [{"word": "In", "start": 2.5, "end": 2.8, "score": 0.7, '
    '"speaker": "SPEAKER_01"}, {"word": "1984?"}]}], "word_segments": []}'
)


def read(tmp_path: Path, data: object, name: str = "a.json") -> Transcript:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return read_transcript(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the published examples are not on this machine")
def test_the_published_podcast_json_reads_as_it_is_printed():
    found = read_transcript(REAL / "example.json")
    assert (found.source, found.problems) == ("podcast json", ())
    assert [(cue.start, cue.end, cue.speaker, cue.text) for cue in found.cues] == [
        (0.5, 0.75, "Darth Vader", "I"),
        (1.0, 1.25, "Darth Vader", "am"),
        (1.5, 2.0, "Darth Vader", "your"),
        (2.25, 2.5, "Darth Vader", "father."),
        (2.75, 3.0, "Luke", "Nooooo"),
    ]


def test_our_own_synthetic_episodes_read_back(tmp_path):
    events = [Event(0.5, 4.25, "speech", "Ann", 'Tea & "milk"'), Event(5, 6, "jingle")]
    found = read(tmp_path, podcast_json(events, "episode"))
    assert found.cues == (Cue(0.5, 4.25, 'Tea & "milk"', "Ann", place="segment 1"),)


def test_a_file_of_whisper_keeps_words_and_what_it_says_about_trust(tmp_path):
    get_writer("json", str(tmp_path))(WHISPER, "episode.mp3")
    found = read_transcript(tmp_path / "episode.json")
    assert (found.source, found.language, found.problems) == ("whisper json", "en", ())
    assert found.cues == (WHISPER_CUE,)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda segments: segments,
        lambda segments: {"segments": segments, "info": {"language": "en", "duration": 2.5}},
    ],
    ids=["a list", "a wrapper"],
)
def test_segments_of_faster_whisper_dumped_as_dicts_read_like_whispers(tmp_path, wrap):
    # Its Segment is a dataclass whose fields have the names of Whisper's; `words` is None without word times.
    segment = {**WHISPER["segments"][0], "id": 1}
    assert read(tmp_path, wrap([segment])).cues == (WHISPER_CUE,)
    assert read(tmp_path, wrap([{**segment, "words": None}])).cues[0].words == ()


def test_a_file_of_whisperx_keeps_speakers_scores_and_words_without_times(tmp_path):
    found = read(tmp_path, WHISPERX)
    assert found.speakers == ["SPEAKER_00", "SPEAKER_01"]
    assert found.cues[0].confidence == pytest.approx((0.91 + 0.8 + 0.99) / 3)
    assert found.cues[1].words == (
        Word("In", 2.5, 2.8, 0.7, "SPEAKER_01"),
        Word("1984?", None, None, None, None),
    )
    assert [str(problem) for problem in found.problems] == [
        "segment 2: words without usable times; the words are kept: 1 of 2"
    ]


def test_chunks_of_transformers_and_segments_of_whisper_cpp_are_known_too(tmp_path):
    chunks = {"text": " Hi. Bye.", "chunks": [{"timestamp": [0.0, 1.5], "text": " Hi."}]}
    chunks["chunks"].append({"timestamp": [2.0, None], "text": " Bye."})
    found = read(tmp_path, chunks)
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.0, 1.5, "Hi."), (2.0, 2.5, "Bye.")]
    assert [problem.place for problem in found.problems] == ["segment 2"]
    cpp = {
        "result": {"language": "de"},
        "transcription": [{"offsets": {"from": 10, "to": 2500}, "text": " Ja."}],
    }
    found = read(tmp_path, cpp)
    assert (found.language, found.source) == ("de", "whisper.cpp json")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.01, 2.5, "Ja.")]


def test_a_text_without_segments_is_a_transcript_without_times(tmp_path):
    found = read(tmp_path, {"text": "Hello there.", "language": "en"})
    assert (found.timed, [cue.text for cue in found.cues]) == (False, ["Hello there."])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1, 1.0), (1.5, 1.5), ("1.5", 1.5), ("00:00:01.5", 1.5), ("0:01,5", 1.5), ("1.5s", 1.5)],
)
def test_times_written_as_text_are_times(tmp_path, value, seconds):
    found = read(tmp_path, {"segments": [{"startTime": value, "endTime": 3, "body": "Hi"}]})
    assert (found.cues[0].start, found.problems) == (seconds, ())


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "null", "true", '"soon"', "[]"]
)
def test_what_is_no_time_costs_a_cue_its_start_or_its_end_and_is_reported(tmp_path, value):
    found = read(
        tmp_path,
        f'{{"segments": [{{"start": {value}, "end": 1, "text": "One"}}, {{"start": 1, "end": {value}, '
        f'"text": "Two and three"}}, {{"start": 9, "end": 10, "text": "Four"}}]}}',
    )
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [
        (1.0, 2.2, "Two and three"),
        (9.0, 10.0, "Four"),
    ]
    assert [(problem.place, problem.what) for problem in found.problems] == [
        ("segment 1", "no usable start time, left out"),
        ("segment 2", "no usable end time, guessed from the next cue and the number of words"),
    ]


def test_values_about_trust_that_cannot_be_are_left_out(tmp_path):
    segment = {"start": 0, "end": 1, "text": "Hi", "avg_logprob": None, "no_speech_prob": 7, "speaker": 3}
    segment["words"] = [{"word": "Hi", "start": 0.9, "end": 0.1, "probability": -1}, {"word": 5}, "Hi"]
    found = read(tmp_path, {"segments": [segment]})
    assert found.cues == (Cue(0.0, 1.0, "Hi", "3", (Word("Hi"),), place="segment 1"),)
    assert sorted({problem.what for problem in found.problems}) == [
        "a probability outside 0..1 was left out",
        "words without usable times; the words are kept",
    ]


def test_things_that_are_no_segment_are_left_out_with_their_number(tmp_path):
    found = read(
        tmp_path, {"segments": [7, {"text": "Hi", "start": 0, "end": 1}, {"start": 2}, {"text": None}]}
    )
    assert [cue.text for cue in found.cues] == ["Hi"]
    assert [str(problem) for problem in found.problems] == [
        "segment 1: not a segment, left out: a number",
        "segment 3: not a segment, left out: an object with the keys start",
        "segment 4: not a segment, left out: an object with the keys text",
    ]


def test_text_that_no_file_can_hold_is_cleaned(tmp_path):
    found = read(tmp_path, r'{"segments": [{"start": 0, "end": 1, "text": "a\ud800b\u0000c\u200e \n d"}]}')
    assert found.cues[0].text == "abc d"


def test_an_episode_without_speech_is_empty_and_no_error(tmp_path):
    get_writer("json", str(tmp_path))({"text": "", "segments": [], "language": "en"}, "episode.mp3")
    assert read_transcript(tmp_path / "episode.json").cues == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply to be a transcript; known: Podcasting 2.0"),
        ('{"a":' * 200_000, "nested too deeply to be a transcript; known: Podcasting 2.0"),
        (
            '{"items": [{"title": "x"}]}',
            "no known shape of transcript; keys found: items; known: Podcasting 2.0",
        ),
        ("{}", "keys found: none; known: .*Whisper, faster-whisper and whisperX"),
        ('{"segments": [{"title": "x"}]}', "none of its 1 segments has a text; known: Podcasting"),
        ('{"segments": {"text": "x"}}', "no known shape of transcript; keys found: segments"),
        ('["a", "b"]', "none of its 2 segments has a text"),
        ("3", "JSON, but no transcript: a number"),
        ('{"segments": [{"text": "cut o', "not JSON: Unterminated string .*the file is cut off"),
        ("", "not JSON: Expecting value"),
    ],
)
def test_json_that_is_no_transcript_is_refused_with_the_formats_known(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
