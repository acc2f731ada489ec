"""YAML values into frozen dataclasses: nothing is executed, and nothing is ignored.

An experiment file holds only what differs from the defaults, or from one other file named by `base:`
(which may not name a base of its own). An unknown key is an error that lists the known ones and suggests
the nearest.
"""

import contextlib
import math
import os
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest

Settings = TypeVar("Settings")


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice: YAML would take the last and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key}' occurs twice", problem_mark=key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def read(path: str | os.PathLike, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The values of an experiment file over those of its base; `changes` ("training.epochs=3") on top."""
    path = Path(path)
    values = _load(path)
    if (name := values.pop("base", None)) is not None:
        base = _load(path.parent / _text(name, f"{path}: base"))
        if "base" in base:
            raise InputError(
                f"{path.parent / name}: a base file may not have a base itself; `base:` is one deep"
            )
        values = merged(base, values)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {change}: write key=value, for example training.epochs=3")
        try:
            parsed = yaml.load(value, _Loader)
        except yaml.YAMLError:
            raise InputError(f"--set {change}: '{value}' is not a YAML value") from None
        for part in reversed(key.strip().split(".")):
            parsed = {part: parsed}
        values = merged(values, parsed)
    return values


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; where both hold a mapping, the two are merged in turn."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def parse(kind: type[Settings], values: Mapping[str, Any] | None, where: str = "") -> Settings:
    """An instance of the dataclass `kind`; `where` is the dotted name of this part, for messages."""
    place = where or "the configuration"
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise InputError(f"{place}: expected settings, received {values!r}")
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            hint = nearest(str(key), list(known))
            raise InputError(f"{place}: unknown key '{key}'{hint}; known: {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{place}: '{name}' is missing, and it has no default")
    hints = typing.get_type_hints(kind)
    parsed = {
        key: _value(hints[key], value, f"{where}.{key}" if where else key) for key, value in values.items()
    }
    return kind(**parsed)


def plain(settings: Any) -> Any:
    """A dataclass as nested dictionaries and lists, for writing."""
    if is_dataclass(settings):
        return {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}
    if isinstance(settings, Mapping):
        return {key: plain(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [plain(value) for value in settings]
    return settings


def dump(settings: Any) -> str:
    """A dataclass as YAML, every value written out."""
    return yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True)


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no such configuration: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a YAML file ({error})") from None
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `key: value` lines, received a {type(values).__name__}")
    return values


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place} = {value!r}: expected text")
    return value


def _value(hint: Any, value: Any, place: str) -> Any:
    """`value` as the type `hint` wants it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, place)
    if is_dataclass(hint):
        return parse(hint, value, place)
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise InputError(f"{place} = {value!r}: expected a list")
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise InputError(f"{place} = {value!r}: expected a list of {len(arguments)}")
            return tuple(
                _value(kind, item, f"{place}[{n}]")
                for n, (kind, item) in enumerate(zip(arguments, value, strict=True))
            )
        return origin(_value(arguments[0], item, f"{place}[{n}]") for n, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{place} = {value!r}: expected `key: value` lines")
        return {
            _text(key, place): _value(arguments[1], item, f"{place}.{key}") for key, item in value.items()
        }
    if hint is Any:
        return value
    return _scalar(hint, value, place)


def _one_of(hints: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in hints:
        return None
    others = [hint for hint in hints if hint is not type(None)]
    for number, hint in enumerate(others):
        try:
            return _value(hint, value, place)
        except InputError:
            if number == len(others) - 1:
                raise
    raise AssertionError("a union has members")


def _scalar(hint: type, value: Any, place: str) -> Any:
    received = value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4, without a point, as text
        with contextlib.suppress(ValueError):
            value = float(value)
    is_kind = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    if is_kind and not (hint is float and not math.isfinite(value)):
        return value
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise InputError(f"{place} = {received!r}: expected {names.get(hint, hint.__name__)}")
