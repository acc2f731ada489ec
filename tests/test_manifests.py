"""Manifests survive a round trip; errors name line, id, field, value and what is allowed."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from multimodal_ser import manifests
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Manifest, ManifestError
from multimodal_ser.utterances import Utterance, is_safe_path

DATA_MANIFESTS = Path(__file__).parents[1] / "data_manifests"
HEADER = '{"manifest": "multimodal_ser", "schema_version": 1, "corpus": "c"}\n'
FULL = Utterance(
    id="a-1",
    corpus="c",
    audio="wav/ä 1.wav",
    start=0.5,
    end=2.25,
    speaker="0012",
    gender="female",
    split="test1",
    fold=3,
    text='None\u2028 "quoted"',
    text_source="reference",
    transcripts={"reference": 'None\u2028 "quoted"'},
    emotion="anger",
    emotion_probs={"anger": 0.75, "neutral": 0.25},
    arousal=0.7,
    valence=0.0,
    dominance=1.0,
    label_source="rated",
    ratings=[{"worker": "w", "arousal": 0.5, "valence": None}],
    frame_labels=[0, 5, 5],
    meta={"session": 1},
)


def line(**values: Any) -> str:
    return json.dumps({"id": "x", "corpus": "c", "text": "t", **values}) + "\n"


def read_lines(folder: Path, *lines: str, header: str = HEADER) -> Manifest:
    path = folder / "manifest.jsonl"
    path.write_text(header + "".join(lines), encoding="utf-8")
    return manifests.read(path)


def test_every_field_survives_writing_and_reading(tmp_path: Path) -> None:
    header = Header("c", "1.2", "wav", "free")
    bare = Utterance("b", "c", text="")
    manifests.write(tmp_path / "m.jsonl", header, [FULL, bare])
    found = manifests.read(tmp_path / "m.jsonl")
    assert (found.header, found.utterances) == (header, [FULL, bare])
    assert found.utterances[1].text == "", "no word spoken is not the same as not transcribed"
    assert all(getattr(FULL, field.name) is not None for field in fields(Utterance)), "FULL tests every field"


def test_the_published_example_is_valid_and_its_description_names_every_field() -> None:
    found = manifests.read(DATA_MANIFESTS / "example.jsonl")
    assert len(found) == 6
    described = set(re.findall(r"^\| `(\w+)` \|", (DATA_MANIFESTS / "README.md").read_text(), re.MULTILINE))
    assert described == {f.name for f in fields(Utterance)} | {f.name for f in fields(Header)}


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    assert len(read_lines(tmp_path, line(), "\n", line(id="y"), header="\ufeff" + HEADER)) == 2


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("arousal", 4.2, "0..1 .convert 1..7 ratings by .x-1./6"),
        ("valence", -0.1, "0..1"),
        ("dominance", "0.5", "a number in unit scale"),
        ("arousal", True, "a number"),
        ("start", -1, "seconds, not negative"),
        ("end", "3", "seconds, not negative"),
        ("gender", "F", "one of female, male, other"),
        ("split", "dev", r"lower case .did you mean 'development'\?"),
        ("split", "Train", r"did you mean 'train'\?"),
        ("split", "Validation", r"did you mean 'development'\?"),
        ("fold", 0, "a whole number from 1"),
        ("emotion", "angr", r"one of neutral, .* .did you mean 'anger'\?"),
        ("emotion_probs", {"anger": 0.5}, "add up to 1"),
        ("emotion_probs", {"rage": 1.0}, "emotion names"),
        ("label_source", "guessed", "one of rated, acted, proxy"),
        ("ratings", [{"arousal": 5}], "dimensions in 0..1"),
        ("ratings", {"arousal": 0.5}, "a list of objects"),
        ("frame_labels", [1.5], "whole numbers"),
        ("transcripts", {"asr": 3}, "text"),
        ("meta", [], "an object"),
        ("speaker", 12, "text"),
        ("text", 5, "text"),
        ("id", 12, "text"),
    ],
)
def test_a_wrong_value_is_named_with_line_id_field_value_and_what_is_allowed(
    tmp_path: Path, field: str, value: Any, allowed: str
) -> None:
    identifier = value if field == "id" else "x"
    shown = re.escape(f"{field} = {json.dumps(value)}: ")
    with pytest.raises(ManifestError, match=f"line 3, id '{identifier}': {shown}.*{allowed}"):
        read_lines(tmp_path, line(id="fine"), line(**{field: value}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": None}, "audio and text are both null"),
        ({"id": ""}, "id and corpus must not be empty"),
        ({"id": None}, "id and corpus must not be empty or null"),
        ({"start": 3, "end": 3}, "end = 3: it must be later than start = 3"),
        ({"end": 0}, "end = 0: it must be later than start = 0.0"),
        ({"valance": 0.5}, r"unknown field 'valance' .did you mean 'valence'\?.; fields: id, corpus"),
    ],
)
def test_values_that_make_no_sense_together_are_refused(tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_lines(tmp_path, line(**values))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="line 2, id 'x': field 'corpus' is missing"):
        read_lines(tmp_path, '{"id": "x"}\n')


def test_infinite_and_nan_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="arousal = NaN"):
        read_lines(tmp_path, '{"id": "x", "corpus": "c", "text": "t", "arousal": NaN}\n')
    with pytest.raises(ManifestError, match="arousal"):
        manifests.write(tmp_path / "m.jsonl", Header("c"), [replace(FULL, arousal=float("inf"))])


@pytest.mark.parametrize("count", [1, 20, 21, 500])
def test_up_to_twenty_problems_are_listed_and_the_others_counted(tmp_path: Path, count: int) -> None:
    with pytest.raises(ManifestError) as caught:
        read_lines(tmp_path, *(line(id=f"u{i}", arousal=2) for i in range(count)))
    message = str(caught.value)
    assert message.count("arousal = 2") == min(count, 20)
    assert f"{count} problem{'s' if count > 1 else ''}" in message
    assert len(caught.value.problems) == count
    assert ("... and" in message) == (count > 20)


def test_an_id_that_occurs_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="line 4, id 'x': the same id stands on line 2"):
        read_lines(tmp_path, line(), line(id="y"), line())
    with pytest.raises(ManifestError, match="line 3, id 'a-1': the id occurs twice"):
        manifests.write(tmp_path / "m.jsonl", Header("c"), [FULL, FULL])


UNSAFE = (
    "/etc/passwd",
    "../up.wav",
    "a/../../up.wav",
    "a/..",
    "C:/x.wav",
    "c:x.wav",
    "a\\b.wav",
    "a\0b.wav",
    "",
)
SAFE = ("a.wav", "a/b c/ä.wav", "..a/b..wav", "a/...wav", "-x.wav", "a/./b.wav")


@pytest.mark.parametrize("path", UNSAFE)
def test_a_path_that_leaves_its_root_is_refused(tmp_path: Path, path: str) -> None:
    assert not is_safe_path(path)
    with pytest.raises(ManifestError, match=r"audio = .*a path below the audio root"):
        read_lines(tmp_path, line(audio=path))


@pytest.mark.parametrize("path", SAFE)
def test_unusual_names_below_the_root_are_fine(path: str) -> None:
    assert is_safe_path(path)


def test_a_truncated_file_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    manifests.write(path, Header("c"), [FULL, replace(FULL, id="b")])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ManifestError, match=r"line 3: not JSON .*; the file seems to be cut off here"):
        manifests.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line is not a manifest header"),
        (b"id,text\nx,y\n", "prepare table"),
        (b'{"id": "x"}\n', "not a manifest header"),
        (b'{"manifest": "multimodal_ser", "schema_version": 9, "corpus": "c"}\n', "schema_version 9; .*1"),
        (b'{"manifest": "multimodal_ser", "schema_version": 1}\n', "names no corpus"),
        (b'{"manifest": "multimodal_ser", "schema_version": 1, "corpus": "c", "rot": 1}\n', "field 'rot'"),
        (b'{"manifest": "multimodal_ser", "schema_version": 1, "corpus": "c"}\n[1]\n', "expected an object"),
        (b'{"manifest": "multimodal_ser", "schema_version": 1, "corpus": "\xff"}\n', "not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_manifest_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        manifests.read(tmp_path / "m.jsonl")


def test_a_manifest_that_is_not_there_is_refused_with_the_verb_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such manifest: .*prepare"):
        manifests.read(tmp_path / "m.jsonl")


def test_an_invalid_utterance_leaves_the_old_manifest_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    manifests.write(path, Header("c"), [FULL])
    before = path.read_bytes()
    with pytest.raises(ManifestError, match=r"line 3, id 'b': split = \"dev\""):
        manifests.write(path, Header("c"), [FULL, replace(FULL, id="b", split="dev")])
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["m.jsonl"]


def moved_corpus(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "m.jsonl"
    clips = [Utterance(str(i), "c", audio=f"{i}.wav") for i in range(3)]
    manifests.write(path, Header("c", audio_root="wav"), clips)
    (tmp_path / "data" / "wav").mkdir()
    for clip in clips:
        (tmp_path / "data" / "wav" / clip.audio).touch()
    return path


def test_a_relative_audio_root_counts_from_the_manifest_and_moves_with_it(tmp_path: Path) -> None:
    path = moved_corpus(tmp_path)
    path.parent.rename(tmp_path / "elsewhere")
    found = manifests.read(tmp_path / "elsewhere" / "m.jsonl")
    manifests.check_audio(found)
    assert found.audio_path(found.utterances[1]) == tmp_path / "elsewhere" / "wav" / "1.wav"


def test_audio_that_moved_is_found_with_another_root_and_missed_with_advice(tmp_path: Path) -> None:
    path = moved_corpus(tmp_path)
    (path.parent / "wav").rename(tmp_path / "new")
    with pytest.raises(InputError, match=r"3 of 3 audio files .* seems to have moved: .*--audio-root"):
        manifests.check_audio(manifests.read(path))
    manifests.check_audio(manifests.read(path, tmp_path / "new"))
    (tmp_path / "new" / "2.wav").unlink()
    with pytest.raises(InputError, match=r"1 of 3 audio files .*2\.wav; part of the corpus is missing"):
        manifests.check_audio(manifests.read(path, tmp_path / "new"))
    with pytest.raises(InputError, match="--audio-root: no such folder"):
        manifests.read(path, tmp_path / "nowhere")


def test_text_only_utterances_and_manifests_without_root_say_so() -> None:
    text_only, clip = Utterance("t", "c", text="x"), Utterance("u", "c", audio="a.wav")
    manifest = Manifest(Header("c"), [text_only, clip])
    with pytest.raises(InputError, match="'t' is text only"):
        manifest.audio_path(text_only)
    with pytest.raises(InputError, match="declares no audio_root"):
        manifest.audio_path(clip)


def test_a_split_that_does_not_exist_is_answered_with_those_that_do() -> None:
    manifest = Manifest(Header("c"), [replace(FULL, split="test1"), replace(FULL, id="b", split=None)])
    assert [u.id for u in manifest.split("test1").utterances] == ["a-1"]
    with pytest.raises(
        InputError, match=r"split 'test' .did you mean 'test1'\?.; splits .*: \(none\), test1"
    ):
        manifest.split("test")
