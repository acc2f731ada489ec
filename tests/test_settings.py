"""YAML becomes dataclasses; whatever is unknown, missing, doubled or of another type is an error."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.settings import dump, merged, parse, plain, read


@dataclass(frozen=True)
class Inner:
    """A part."""

    width: int = 4
    rate: float = 0.5
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outer:
    """A whole."""

    name: str = "x"
    is_on: bool = False
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)
    words: tuple[str, ...] = ()
    parts: list[Inner] = field(default_factory=list)
    span: tuple[float, float] = (0.0, 1.0)
    either: int | str = 1


@dataclass(frozen=True)
class Needy:
    """One value without a default."""

    path: str
    count: int = 1


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_reach_their_places_with_their_types() -> None:
    given = {
        "name": "run",
        "is_on": True,
        "limit": 3,
        "inner": {"width": 8, "rate": 2, "rates": {"a.": 1}},
        "words": ["a", "b"],
        "parts": [{"width": 1}],
        "span": [1, 2.5],
        "either": "text",
    }
    assert parse(Outer, given) == Outer(
        "run", True, 3, Inner(8, 2.0, {"a.": 1.0}), ("a", "b"), [Inner(1)], (1.0, 2.5), "text"
    )
    assert parse(Outer, {"limit": None, "inner": None}) == Outer()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "x"}, r"the configuration: unknown key 'nam' \(did you mean 'name'\?\); known: name, is_on"),
        (
            {"inner": {"widht": 3}},
            r"inner: unknown key 'widht' \(did you mean 'width'\?\); known: width, rate",
        ),
        ({"parts": [{}, {"with": 3}]}, r"parts\[1\]: unknown key 'with'"),
        ({"inner": 3}, "inner: expected settings, received 3"),
        ({"name": 3}, "name = 3: expected text"),
        ({"name": False}, "name = False: expected text"),
        ({"is_on": "yes"}, "is_on = 'yes': expected true or false"),
        ({"is_on": 1}, "is_on = 1: expected true or false"),
        ({"inner": {"width": 2.5}}, "inner.width = 2.5: expected a whole number"),
        ({"inner": {"width": True}}, "inner.width = True: expected a whole number"),
        ({"inner": {"width": None}}, "inner.width = None: expected a whole number"),
        ({"inner": {"rate": "fast"}}, "inner.rate = 'fast': expected a number"),
        ({"inner": {"rate": True}}, "inner.rate = True: expected a number"),
        ({"inner": {"rate": "nan"}}, "inner.rate = 'nan': expected a number"),
        ({"inner": {"rate": float("inf")}}, "inner.rate = inf: expected a number"),
        ({"inner": {"rates": [1]}}, r"inner.rates = \[1\]: expected `key: value` lines"),
        ({"inner": {"rates": {"a": "b"}}}, "inner.rates.a = 'b': expected a number"),
        ({"inner": {"rates": {1: 2}}}, "inner.rates = 1: expected text"),
        ({"words": "a"}, "words = 'a': expected a list"),
        ({"words": ["a", 1]}, r"words\[1\] = 1: expected text"),
        ({"span": [1]}, r"span = \[1\]: expected a list of 2"),
        ({"span": [1, "x"]}, r"span\[1\] = 'x': expected a number"),
        ({"limit": "many"}, "limit = 'many': expected a whole number"),
        ({"either": 1.5}, "either = 1.5: expected text"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_what_is_allowed(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        parse(Outer, values)


def test_a_value_without_a_default_has_to_be_given() -> None:
    assert parse(Needy, {"path": "x"}) == Needy("x")
    with pytest.raises(InputError, match="data: 'path' is missing, and it has no default"):
        parse(Needy, {"count": 2}, "data")


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("3", 3.0), ("1E5", 1e5)])
def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    path = written(tmp_path, "a.yaml", f"inner:\n  rate: {text}\n")
    assert parse(Outer, read(path)).inner.rate == value
    assert parse(Outer, read(path, [f"inner.rate={text}"])).inner.rate == value


def test_what_is_dumped_reads_back_the_same(tmp_path: Path) -> None:
    made = Outer("näme", True, 3, Inner(8, 1e-5, {"model.audio.": 1e-6}), ("a",), [Inner(1)], (0.25, 1.0))
    path = written(tmp_path, "a.yaml", dump(made))
    assert parse(Outer, read(path)) == made
    assert "limit: 3" in dump(made)
    assert plain(made)["words"] == ["a"]


def test_a_file_lies_over_its_base_key_by_key(tmp_path: Path) -> None:
    written(tmp_path, "base.yaml", "name: below\ninner: {width: 7, rates: {a: 1, b: 2}}\nwords: [x, y]\n")
    path = written(tmp_path, "a.yaml", "base: base.yaml\ninner: {rate: 3, rates: {b: 5}}\nwords: [z]\n")
    made = parse(Outer, read(path))
    assert made == Outer("below", inner=Inner(7, 3.0, {"a": 1.0, "b": 5.0}), words=("z",))


def test_a_base_counts_from_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, "base.yaml", "name: found\n")
    assert read(written(tmp_path / "sub", "a.yaml", "base: ../base.yaml\n")) == {"name": "found"}


def test_a_base_has_no_base(tmp_path: Path) -> None:
    written(tmp_path, "lowest.yaml", "name: x\n")
    written(tmp_path, "base.yaml", "base: lowest.yaml\n")
    with pytest.raises(InputError, match=r"base\.yaml: a base file may not have a base itself"):
        read(written(tmp_path, "a.yaml", "base: base.yaml\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: missing.yaml\n", r"no such configuration: .*missing\.yaml"),
        ("base: 3\n", "base = 3: expected text"),
        ("a: [1\n", "not YAML"),
        ("- 1\n- 2\n", "expected `key: value` lines, received a list"),
        ("name: a\nname: b\n", "not YAML: key 'name' occurs twice.*line 2"),
        ("inner:\n  rate: 1\n  width: 1\n  rate: 2\n", "key 'rate' occurs twice.*line 4"),
        ("name: !!python/object/apply:os.getcwd []\n", "not YAML: could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, "a.yaml", text))


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such configuration: .*a\.yaml"):
        read(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(InputError, match=r"b\.yaml: not readable as a YAML file"):
        read(tmp_path / "b.yaml")
    with pytest.raises(InputError, match="not readable as a YAML file"):
        read(tmp_path)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert parse(Outer, read(written(tmp_path, "a.yaml", "# nothing\n"))) == Outer()


def test_changes_on_the_command_line_lie_on_top_the_last_uppermost(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yaml", "name: file\ninner: {width: 1}\n")
    changes = ["inner.rate=2", "name=first", "name = second", "words=[a, b]", "limit=null", "is_on=true"]
    made = parse(Outer, read(path, [*changes, "inner.rates={model.audio.: 1e-5}", "name=a=b"]))
    assert made == Outer("a=b", True, None, Inner(1, 2.0, {"model.audio.": 1e-5}), ("a", "b"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("inner.rate", "--set inner.rate: write key=value, for example training.epochs=3"),
        ("=3", "--set =3: write key=value"),
        ("name=[1", r"--set name=\[1: '\[1' is not a YAML value"),
    ],
)
def test_a_change_that_cannot_be_read_is_refused(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, "a.yaml", ""), [change])


def test_an_unknown_key_of_a_change_is_found_like_one_of_a_file(tmp_path: Path) -> None:
    values = read(written(tmp_path, "a.yaml", ""), ["inner.rat=3"])
    with pytest.raises(InputError, match=r"inner: unknown key 'rat' \(did you mean 'rate'\?\)"):
        parse(Outer, values)


def test_merging_leaves_both_sides_as_they_were() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged(below, above) == {"a": {"b": 1, "c": 2}}
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})
