"""Manifests as wholes: show, filter, merge, give another audio root, draw.

A condition is FIELD=VALUE, FIELD!=VALUE, FIELD<NUMBER or FIELD>NUMBER (also <= and >=). VALUE may be several,
separated by commas; an empty one means "not annotated". `meta.NAME` reaches into `meta`.
"""

import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from multimodal_ser.cache import atomic_path
from multimodal_ser.corpora.preparation_report import counts_line, speaker_lines, table
from multimodal_ser.corpora.summaries import TOTAL, by_split, summarise
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, nearest
from multimodal_ser.manifests import Header, Manifest
from multimodal_ser.utterances import FIELDS, Utterance

LEVELS_ABOVE = 2  # how far above a manifest a folder may lie that holds the audio too
LINES_SHOWN = 10
VALUES_SHOWN = 20  # of a field, in an error
_CONDITION = re.compile(r"\s*([a-z_]+(?:\.\w+)?)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_BINS = 24  # of a histogram over 0..1; ratings of five raters on 1..7 fall on 31 values


def shown(manifest: Manifest, seconds: Mapping[str, float] | None = None, seed: int = 0) -> str:
    """What a manifest holds, and ten random utterances; `seconds` are the lengths of audio files."""
    summary = summarise(manifest.utterances, seconds)
    total, header = summary[TOTAL], manifest.header
    lines = [
        " ".join(filter(None, (header.corpus, header.version, f"({header.licence or 'no licence given'})"))),
        f"audio root: {manifest.root or 'none'}",
        "",
        *table(summary),
        "",
        f"text: {total['text']['with_words']:,} with words, {total['text']['empty']:,} empty, "
        f"{total['text']['missing']:,} without transcript",
        *speaker_lines(summary),
    ]
    for what, name in (("emotions", "emotions"), ("labels are", "label_sources")):
        if total[name]:
            lines.append(counts_line(what, total[name], VALUES_SHOWN))
    chosen = random.Random(seed).sample(manifest.utterances, min(LINES_SHOWN, len(manifest)))
    return "\n".join([*lines, "", *map(_line, chosen)])


def filtered(manifest: Manifest, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> Manifest:
    """Those utterances that fulfil every condition of `keep` and none of `drop`."""
    for text in keep:
        test = condition(text)
        selected = manifest.select(test)
        if not selected.utterances:
            raise InputError(f"no utterance fulfils '{text}'; {_present(manifest, text)}")
        manifest = selected
    unwanted = [condition(text) for text in drop]
    manifest = manifest.select(lambda utterance: not any(test(utterance) for test in unwanted))
    if not manifest.utterances:
        raise InputError(f"no utterance is left after --drop {' --drop '.join(drop)}")
    return manifest


def condition(text: str) -> Callable[[Utterance], bool]:
    """Whether an utterance fulfils FIELD=VALUE, FIELD!=VALUE, FIELD<NUMBER ..."""
    name, operator, value = _parsed(text)
    if operator in _COMPARISONS:
        try:
            bound = float(value)
        except ValueError:
            raise InputError(f"condition '{text}': '{value}' is not a number") from None
        compare = _COMPARISONS[operator]
        return lambda u: isinstance(found := _value(u, name), int | float) and compare(found, bound)
    wanted = {item.strip() for item in value.split(",")}
    if operator == "!=":
        return lambda u: _as_text(_value(u, name)) not in wanted
    return lambda u: _as_text(_value(u, name)) in wanted


def merged(manifests: Sequence[Manifest], output: Path) -> Manifest:
    """All utterances in one manifest, to be written into the folder `output`.

    As soon as there are two corpora, "CORPUS/" stands before every id and speaker, since 03 of one corpus is
    not 03 of another; what has it already keeps it. Audio paths start from the deepest folder that holds all
    audio roots.
    """
    if len(manifests) == 1:
        return manifests[0]
    root = _shared_root(manifests)
    corpora = list(dict.fromkeys(u.corpus for m in manifests for u in m.utterances))
    utterances = [
        _moved(utterance, _inner(manifest, root), len(corpora) > 1)
        for manifest in manifests
        for utterance in manifest.utterances
    ]
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            raise InputError(
                f"two manifests of '{utterance.corpus}' hold the id '{utterance.id}'; filter one of them, or "
                "give them corpus names of their own when they are prepared"
            )
        seen.add(utterance.id)
    header = Header(
        corpus="+".join(corpora),
        version=_joined(manifest.header.version for manifest in manifests),
        audio_root=None if root is None else written_root(root, output),
        licence=_joined(manifest.header.licence for manifest in manifests),
    )
    return Manifest(header, utterances, root)


def rerooted(manifest: Manifest, output: Path) -> Manifest:
    """The same manifest, its audio root as a manifest in the folder `output` names it."""
    if manifest.root is None:
        return manifest
    return replace(manifest, header=replace(manifest.header, audio_root=written_root(manifest.root, output)))


def written_root(root: Path, output: Path) -> str:
    """The audio root as a manifest in `output` names it: relative if it lies near enough to move with it."""
    root, output = root.resolve(), output.resolve()
    try:
        path = Path(os.path.relpath(root, output))
    except ValueError:  # another drive
        return root.as_posix()
    above = path.parts.count("..")
    both = output.parents[above - 1] if above else output
    return (path if above <= LEVELS_ABOVE and both != Path(root.anchor) else root).as_posix()


def draw(manifest: Manifest, path: str | os.PathLike) -> None:
    """Histograms of the three dimensions, one line per split, as a figure in the format of the suffix."""
    from matplotlib.figure import Figure

    groups = by_split(manifest.utterances)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, len(DIMENSIONS), sharey=True)
    for axis, name in zip(axes, DIMENSIONS, strict=True):
        for split, group in groups.items():
            values = np.array([v for u in group if (v := getattr(u, name)) is not None])
            if values.size:
                weights = np.full(values.size, 100 / values.size)
                axis.hist(values, bins=_BINS, range=(0, 1), weights=weights, histtype="step", label=split)
        axis.set(title=name, xlabel="unit scale", xlim=(0, 1))
    if not any(axis.has_data() for axis in axes):
        raise InputError(f"'{manifest.header.corpus}' has no arousal, valence or dominance to draw")
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize="small")
    axes[0].set_ylabel("utterances of the split, %")
    figure.suptitle(f"{manifest.header.corpus}: {len(manifest):,} utterances")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _parsed(text: str) -> tuple[str, str, str]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InputError(
            f"not a condition: '{text}'; write FIELD=VALUE, FIELD!=VALUE, FIELD<NUMBER or FIELD>NUMBER"
        )
    name, operator, value = match[1], match[2], match[3].strip()
    field, _, key = name.partition(".")
    if field not in FIELDS or bool(key) != (field == "meta"):
        raise InputError(
            f"condition '{text}': unknown field '{name}'{nearest(name, FIELDS)}; fields: {', '.join(FIELDS)} "
            "(meta with a name: meta.NAME)"
        )
    return name, operator, value


def _value(utterance: Utterance, name: str) -> Any:
    field, _, key = name.partition(".")
    return (utterance.meta or {}).get(key) if key else getattr(utterance, field)


def _as_text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _present(manifest: Manifest, text: str) -> str:
    name = _parsed(text)[0]
    values = sorted({_as_text(_value(u, name)) or "(none)" for u in manifest.utterances})
    more = " ..." if len(values) > VALUES_SHOWN else ""
    return f"values of {name}: {', '.join(values[:VALUES_SHOWN])}{more}"


def _shared_root(manifests: Sequence[Manifest]) -> Path | None:
    roots = []
    for manifest in manifests:
        if any(utterance.audio is not None for utterance in manifest.utterances):
            if manifest.root is None:
                raise InputError(
                    f"the manifest of '{manifest.header.corpus}' declares no audio_root; give it one first: "
                    "`multimodal-ser manifest FILE --audio-root DIR -o NEW.jsonl`"
                )
            roots.append(manifest.root.resolve())
    try:
        return Path(os.path.commonpath(roots)) if roots else None
    except ValueError:
        raise InputError("audio on two drives cannot be in one manifest: it has one audio root") from None


def _inner(manifest: Manifest, root: Path | None) -> PurePosixPath:
    if root is None or manifest.root is None:
        return PurePosixPath()
    return PurePosixPath(os.path.relpath(manifest.root.resolve(), root).replace(os.sep, "/"))


def _moved(utterance: Utterance, inner: PurePosixPath, prefixed: bool) -> Utterance:
    return replace(
        utterance,
        id=_prefixed(utterance.id, utterance.corpus) if prefixed else utterance.id,
        speaker=_prefixed(utterance.speaker, utterance.corpus) if prefixed else utterance.speaker,
        audio=None if utterance.audio is None else (inner / utterance.audio).as_posix(),
    )


def _prefixed(name: str | None, corpus: str) -> str | None:
    return name if name is None or name.startswith(f"{corpus}/") else f"{corpus}/{name}"


def _joined(names: Any) -> str | None:
    return "+".join(dict.fromkeys(name for name in names if name)) or None


def _line(utterance: Utterance) -> str:
    record = {name: value for name, value in asdict(utterance).items() if value is not None}
    record.pop("ratings", None)
    record.pop("frame_labels", None)
    return json.dumps(record, ensure_ascii=False)
