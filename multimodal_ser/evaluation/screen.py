"""The figures of a set as a few lines of text."""

from typing import Any

from multimodal_ser.labels import DIMENSIONS

_WIDTH = 22
_UNDEFINED = "-"


def screen(measured: dict[str, Any]) -> str:
    """One set of `metrics.json`: CCC of every reading, what words and fusion are worth, coverage, classes."""
    stated = measured["protocol"]
    warning = _undefined_line(measured["undefined_predictions"])
    if not any(stated["labelled"].values()) and not measured.get("classes", {}).get("utterances"):
        nothing = "no labels in this manifest: predictions are written, nothing can be measured"
        return "\n".join([title(stated), *warning, nothing])
    lines = [title(stated), f"selection: {stated['selection']}", *warning, ""]
    if any(stated["labelled"].values()):
        lines += _table_lines(measured["readings"])
        lines += [f"{name}: {_differences(found)}" for name, found in measured["differences"].items()]
        for kind, found in measured["transcripts"].items():
            first = next(iter(found["readings"].values()))
            lines.append(
                f"given - {kind} transcripts: {_differences(first['differences'][f'given - {kind}'])}"
            )
    if intervals := measured.get("intervals"):
        covered = ", ".join(
            f"{name} {_cell(found['covered'])}"
            for name, found in intervals["dimensions"].items()
            if found["utterances"]
        )
        lines.append(f"intervals promise {intervals['promised']:.0%} and cover: {covered or _UNDEFINED}")
    if (classes := measured.get("classes")) and classes["utterances"]:
        named = ("weighted_accuracy", "unweighted_accuracy", "weighted_f1")
        figures = ", ".join(f"{name.replace('_', ' ')} {_cell(classes[name])}" for name in named)
        lines.append(f"{len(classes['classes'])} classes, {classes['utterances']:,} utterances: {figures}")
    return "\n".join(lines)


def table(readings: dict[str, Any], protocol: dict[str, Any]) -> str:
    """CCC with intervals, a row per reading."""
    return "\n".join([title(protocol), "", *_table_lines(readings)])


def title(protocol: dict[str, Any]) -> str:
    """Which set, how many, and whose intervals."""
    corpus = " ".join(filter(None, (protocol["corpus"], protocol["version"])))
    plural = "" if protocol["speakers"] == 1 else "s"
    training = protocol["training"]
    seen = "" if training is None else f" ({training['speakers_in_training']} of them in training)"
    return (
        f"CCC on {corpus}, {protocol['set']}: {protocol['utterances']:,} utterances of "
        f"{protocol['speakers']:,} speaker{plural}{seen}; intervals {protocol['intervals']}"
    )


def _undefined_line(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"WARNING: {count:,} utterances have predictions that are not numbers; has the training diverged?"
    ]


def _table_lines(readings: dict[str, Any]) -> list[str]:
    lines = [f"{'':8}" + "".join(f"{name:>{_WIDTH}}" for name in DIMENSIONS)]
    for reading, figures in readings.items():
        cells = [_cell(figures[name].get("ccc")) for name in DIMENSIONS]
        lines.append(f"{reading:8}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells))
    return lines


def _differences(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(found[name]['ccc'], '+.2f')}" for name in DIMENSIONS)


def _cell(interval: dict[str, float | None] | None, form: str = ".2f") -> str:
    """ "0.61 [0.55, 0.66]", without the brackets where there is no interval."""
    if interval is None or interval["value"] is None:
        return _UNDEFINED
    value, low, high = (_text(interval[end], form) for end in ("value", "low", "high"))
    return value if low == _UNDEFINED else f"{value} [{low}, {high}]"


def _text(value: float | None, form: str) -> str:
    return _UNDEFINED if value is None else format(round(value, 2) or 0.0, form)  # no minus before a zero
