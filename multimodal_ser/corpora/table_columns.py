"""Which column of a user's table means what: names detected, flags, and a YAML file of the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, EMOTIONS, Scale, dimension_named, emotion_named, nearest
from multimodal_ser.utterances import LABEL_SOURCES

# Field of an utterance: names of columns that mean it, without case, blanks, dashes and underscores.
ALIASES = {
    "id": ("id", "uttid", "utteranceid", "segmentid", "segid", "clipid", "key"),
    "audio": ("audio", "file", "filename", "path", "filepath", "audiopath", "audiofile", "wav", "clip"),
    "start": ("start", "starttime", "begin", "onset", "startsec", "tstart"),
    "end": ("end", "endtime", "stop", "offset", "endsec", "tend"),
    "speaker": ("speaker", "speakerid", "spk", "spkid", "spkrid", "spkr", "actor", "actorid"),
    "gender": ("gender", "sex"),
    "split": ("split", "splitset", "set", "partition", "subset"),
    "fold": ("fold",),
    "text": ("text", "transcript", "transcription", "sentence", "words", "utterance"),
    "emotion": ("emotion", "emoclass", "emotionlabel", "emotionclass", "label", "category"),
    "arousal": ("arousal", "activation", "emoact", "act", "a"),
    "valence": ("valence", "emoval", "val", "v", "pleasure"),
    "dominance": ("dominance", "emodom", "dom", "d"),
}  # fmt: skip
FIELDS = tuple(ALIASES)


@dataclass
class Mapping:
    """What the user said about the table."""

    columns: dict[str, str] = field(default_factory=dict)  # field: column
    scales: dict[str, Scale] = field(default_factory=dict)  # dimension: range of its ratings
    emotions: dict[str, str] = field(default_factory=dict)  # the user's word in lower case: class
    audio_root: str | None = None  # absolute, or relative to the table's folder
    audio_suffix: str = ""  # to be put behind every audio path
    corpus: str | None = None
    version: str | None = None
    licence: str | None = None
    label_source: str = "rated"
    meta: list[str] = field(default_factory=list)  # columns that are kept as `meta`


_YAML_KEYS = tuple("scale" if item.name == "scales" else item.name for item in fields(Mapping))


def mapping_of(path: Path | None, **said: Any) -> Mapping:
    """The mapping of a YAML file, if one is given, with what flags said instead; flags win."""
    values = _read_yaml(path) if path is not None else {}
    for name in ("columns", "emotions"):
        values[name] = {**_as_pairs(values.get(name), name), **pairs(said.pop(name, ()), name)}
    values["scale"] = {**_scales(values.get("scale")), **_scales(said.pop("scale", ()))}
    values |= {name: value for name, value in said.items() if value}
    scales = values.pop("scale")
    emotions = {word.lower(): emotion_named(name) for word, name in values.pop("emotions").items()}
    for name in values["columns"]:
        if name not in FIELDS:
            raise InputError(f"unknown field '{name}'{nearest(name, FIELDS)}; fields: {', '.join(FIELDS)}")
    mapping = Mapping(**values, scales=scales, emotions=emotions)
    if mapping.label_source not in LABEL_SOURCES:
        raise InputError(f"label_source '{mapping.label_source}': one of {', '.join(LABEL_SOURCES)}")
    return mapping


def pairs(items: Sequence[str], what: str) -> dict[str, str]:
    """Read FIELD=NAME items."""
    found = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise InputError(f"not NAME=VALUE: '{item}' among {what}")
        found[name.strip()] = value.strip()
    return found


def found_columns(present: Sequence[str], mapping: Mapping, where: str) -> dict[str, str]:
    """Field to column: those the user named, which must exist, and those that their names give away."""
    for name, column in mapping.columns.items():
        if column not in present:
            raise InputError(
                f"{where}: no column '{column}' (meant as {name}){nearest(column, list(present))}; "
                f"columns found: {', '.join(present)}"
            )
    for column in mapping.meta:
        if column not in present:
            raise InputError(f"{where}: no column '{column}' (meant as meta); columns: {', '.join(present)}")
    found = dict(mapping.columns)
    free = [column for column in present if column not in found.values() and column not in mapping.meta]
    for name, aliases in ALIASES.items():
        candidates = [column for column in free if _plain(column) in aliases]
        if name in found or not candidates:
            continue
        exact = [column for column in candidates if _plain(column) == name]
        if len(candidates) > 1 and len(exact) != 1:
            raise InputError(
                f"{where}: the columns {' and '.join(candidates)} may all mean {name}; "
                f"say which with --column {name}=NAME"
            )
        found[name] = (exact or candidates)[0]
    _check_sense(found, present, mapping, where)
    return found


def _check_sense(found: dict[str, str], present: Sequence[str], mapping: Mapping, where: str) -> None:
    if "audio" not in found and "text" not in found:
        raise InputError(
            f"{where}: no column with audio paths and none with text; columns found: {', '.join(present)}. "
            "Say which it is with --column audio=NAME or --column text=NAME"
        )
    unscaled = [name for name in DIMENSIONS if name in found and name not in mapping.scales]
    if unscaled:
        raise InputError(
            f"{where}: the range of {', '.join(unscaled)} is not declared; add --scale LOW-HIGH, "
            "for example --scale 1-7, or --scale valence=-3..3"
        )


def _scales(said: Any) -> dict[str, Scale]:
    """Scales per dimension from "1-7", {"valence": "-3..3"} or a sequence of "1-7" and "valence=-3..3"."""
    if not said:
        return {}
    if isinstance(said, dict):
        items = [f"{name}={scale}" for name, scale in said.items()]
    else:
        items = [said] if isinstance(said, str) else list(said)
    found: dict[str, Scale] = {}
    for item in items:
        name, equals, scale = item.partition("=")
        if equals:
            found[dimension_named(name)] = Scale.parse(scale)
        else:
            found = dict.fromkeys(DIMENSIONS, Scale.parse(item)) | found
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise InputError(f"--mapping: no such file: {path}")
    try:
        # The base loader makes text of every value: version 1.10 is not 1.1, and "no" is a word.
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values; keys: {', '.join(_YAML_KEYS)}")
    for name in values:
        if name not in _YAML_KEYS:
            raise InputError(
                f"{path}: unknown key '{name}'{nearest(str(name), _YAML_KEYS)}; keys: {', '.join(_YAML_KEYS)}"
            )
    if not isinstance(values.get("meta", []), list):
        raise InputError(f"{path}: meta must be a list of columns")
    return values


def _as_pairs(value: Any, what: str) -> dict[str, str]:
    if not value:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{what} in the mapping file must be a list of NAME: VALUE; received {value!r}")
    return dict(value)


def _plain(column: str) -> str:
    return "".join(character for character in column.lower() if character.isalnum())


def emotion_classes(words: Sequence[str], mapping: Mapping, where: str) -> dict[str, str]:
    """The class that each word of the emotion column means; all words must be known."""
    classes, unknown = {}, []
    for word in words:
        try:
            classes[word] = mapping.emotions.get(word.strip().lower()) or emotion_named(word)
        except InputError:
            unknown.append(word)
    if unknown:
        shown = ", ".join(f"'{word}'" for word in sorted(unknown)[:10])
        raise InputError(
            f"{where}: unknown emotions {shown}{' ...' if len(unknown) > 10 else ''}; say what each means "
            f"with --emotion '{sorted(unknown)[0]}=CLASS'. Classes: {', '.join(EMOTIONS)}"
        )
    return classes
