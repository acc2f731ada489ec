"""Figures of an evaluation, drawn from its files alone: `metrics.json`, predictions and speakers.

Colours, markers and sizes are those of `drawing`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from multimodal_ser.drawing import COLOURS, GREY, MARKERS, STYLE, WIDTH, save
from multimodal_ser.labels import DIMENSIONS, Scale

PANEL_HEIGHT = 2.45  # inches, of three panels in a row
CROWD = 1_500  # points above which a scatter becomes a map of density


def draw_set(
    folder: Path, name: str, measured: dict[str, Any], scale: Scale, svg: bool = False
) -> list[Path]:
    """Draw every figure that the data of a set allow; returns the PNG files."""
    predictions = read_table(folder / f"predictions_{name}.csv")
    speakers = read_table(folder / f"speakers_{name}.csv")
    kinds: dict[str, Callable[[], Figure | None]] = {
        "readings": lambda: readings_figure(measured),
        "scatter": lambda: scatter_figure(predictions, measured, scale),
        "calibration": lambda: calibration_figure(measured, scale),
        "speakers": lambda: speakers_figure(speakers, scale),
        "intervals": lambda: intervals_figure(measured),
        "subgroups": lambda: subgroups_figure(measured),
    }
    paths = []
    for kind, draw in kinds.items():
        with rc_context(STYLE):
            figure = draw()
            if figure is None:
                continue
            paths.append(save(figure, folder / f"{kind}_{name}.png"))
            if svg:
                save(figure, folder / f"{kind}_{name}.svg")
    return paths


def read_table(path: Path) -> pd.DataFrame:
    """A table of this package: names stay text, even one that looks like a number or a gap."""
    names = {"id": str, "speaker": str, "gender": str}
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values={c: [""] for c in _numbers(path)})


def readings_figure(measured: dict[str, Any]) -> Figure | None:
    """CCC with intervals of every reading, and with every kind of transcript."""
    rows = dict(measured["readings"])
    for kind, found in measured["transcripts"].items():
        first = next(iter(found["readings"]))
        rows[f"{first}, {kind} transcripts"] = found["readings"][first]["readings"][kind]
    return _forest({label: (figures, "ccc") for label, figures in rows.items()}, "CCC (no unit)", 0.0)


def subgroups_figure(measured: dict[str, Any]) -> Figure | None:
    """CCC with intervals of the fullest reading in every subgroup, below that of the whole set."""
    rows = {"whole set": (next(iter(measured["readings"].values())), "ccc")}
    rows |= {label: (figures, "ccc") for label, figures in _groups(measured)}
    return _forest(rows, "CCC (no unit)", 0.0) if len(rows) > 1 else None


def scatter_figure(predictions: pd.DataFrame, measured: dict[str, Any], scale: Scale) -> Figure | None:
    """Prediction against label; a density where there are too many points to see."""
    known = {name: predictions[[f"label_{name}", name]].dropna().to_numpy(dtype=float) for name in DIMENSIONS}
    labelled = [name for name, points in known.items() if len(points)]
    if not labelled:
        return None
    figure, panels = _panels(len(labelled), PANEL_HEIGHT)
    first = next(iter(measured["readings"].values()))
    densities = []
    for axes, name in zip(panels, labelled, strict=True):
        points = known[name]
        low, high = min(scale.low, points.min()), max(scale.high, points.max())
        _identity(axes, low, high)
        if len(points) > CROWD:
            densities.append(axes.hexbin(*points.T, gridsize=32, mincnt=1, cmap="cividis", linewidths=0))
        else:
            axes.scatter(*points.T, s=9, alpha=0.55, color=COLOURS[name], linewidths=0, marker=MARKERS[name])
        _scale_ticks(axes, scale)
        value = first[name].get("ccc", {}).get("value")
        axes.set_title(name if value is None else f"{name}: CCC {value:.2f}", color=COLOURS[name])
        axes.set_xlabel(f"label (scale {scale})")
    panels[0].set_ylabel(f"prediction (scale {scale})")
    if densities:  # one colour means the same count in every panel
        norm = LogNorm(1, max(density.get_array().max() for density in densities))
        for density in densities:
            density.set_norm(norm)
        figure.colorbar(densities[0], ax=panels, label="utterances", shrink=0.75, aspect=25)
    return figure


def calibration_figure(measured: dict[str, Any], scale: Scale) -> Figure | None:
    """The mean label of predictions of about the same size."""
    drawn = [name for name in DIMENSIONS if measured["calibration"].get(name)]
    if not drawn:
        return None
    figure, panels = _panels(len(drawn), PANEL_HEIGHT)
    for axes, name in zip(panels, drawn, strict=True):
        bins = measured["calibration"][name]
        said = [found["said"] for found in bins]
        labels = [found["label"]["value"] for found in bins]
        _identity(axes, scale.low, scale.high)
        axes.errorbar(said, labels, _ends([b["label"] for b in bins]), **(_points(name) | {"linestyle": "-"}))
        _scale_ticks(axes, scale)
        axes.set_title(name, color=COLOURS[name])
        axes.set_xlabel(f"prediction (scale {scale})")
    panels[0].set_ylabel(f"mean label (scale {scale})")
    return figure


def speakers_figure(speakers: pd.DataFrame, scale: Scale) -> Figure | None:
    """Mean prediction against mean label per speaker, and how CCC differs between speakers."""
    drawn = [name for name in DIMENSIONS if len(speakers[[name, f"label_{name}"]].dropna()) > 1]
    if not drawn:
        return None
    has_ccc = any(speakers[f"ccc_{name}"].notna().any() for name in drawn)
    figure = Figure(figsize=(WIDTH, 4.7 if has_ccc else PANEL_HEIGHT))
    rows = figure.subplots(2 if has_ccc else 1, len(drawn), squeeze=False)
    largest = speakers["utterances"].max()
    for column, name in enumerate(drawn):
        axes = rows[0][column]
        known = speakers.dropna(subset=[name, f"label_{name}"])
        x, y = known[f"label_{name}"], known[name]
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        _identity(axes, low, high)
        margin = 0.06 * (high - low) or 0.1
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
        axes.xaxis.set_major_locator(axes.yaxis.get_major_locator())
        sizes = 6 + 60 * known["utterances"] / largest
        axes.scatter(x, y, s=sizes, alpha=0.6, color=COLOURS[name], linewidths=0, marker=MARKERS[name])
        axes.set_title(f"{name}, {len(known):,} speakers", color=COLOURS[name])
        axes.set_xlabel(f"mean label (scale {scale})")
        if has_ccc:
            _ccc_histogram(rows[1][column], speakers[f"ccc_{name}"].dropna(), name)
    rows[0][0].set_ylabel(f"mean prediction (scale {scale})")
    if has_ccc:
        rows[1][0].set_ylabel("speakers")
    return figure


def intervals_figure(measured: dict[str, Any]) -> Figure | None:
    """Coverage against promise at several levels, and in every subgroup at the one level in use."""
    found = measured.get("intervals")
    known = [name for name in DIMENSIONS if found and found["dimensions"][name]["utterances"]]
    if not known:
        return None
    groups = _groups(measured)
    has_curve = any(found["dimensions"][name].get("levels") for name in known)
    height = max(2.9, 0.6 + 0.27 * (len(groups) + 1))
    figure = Figure(figsize=(WIDTH, height))
    curve, by_group = figure.subplots(1, 2, width_ratios=(1, 1.1)) if has_curve else (None, figure.subplots())
    if curve is not None:
        _identity(curve, 0.4, 1.0)
        for name in known:
            levels = found["dimensions"][name].get("levels") or []
            points = ([x["promised"] for x in levels], [x["covered"] for x in levels])
            curve.plot(*points, color=COLOURS[name], marker=MARKERS[name], markersize=4, label=name)
        curve.set(xlabel="promised coverage (share)", ylabel="measured coverage (share)")
        curve.legend(loc="lower right")
    rows = {"whole set": ({name: found["dimensions"][name] for name in known}, "covered")}
    rows |= {label: (figures, "covered") for label, figures in groups}
    _draw_forest(by_group, rows)
    by_group.axvline(found["promised"], color=GREY, linestyle="--", linewidth=1)
    by_group.set_xlabel("measured coverage (share)")
    if curve is None:
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def _forest(rows: dict[str, tuple[dict[str, Any], str]], label: str, line: float) -> Figure | None:
    if not any(figures.get(name, {}).get(what) for figures, what in rows.values() for name in DIMENSIONS):
        return None
    figure = Figure(figsize=(WIDTH, 1.05 + 0.36 * len(rows)))
    axes = figure.subplots()
    _draw_forest(axes, rows)
    axes.axvline(line, color=GREY, linewidth=0.8)
    axes.set_xlabel(label)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _draw_forest(axes: Axes, rows: dict[str, tuple[dict[str, Any], str]]) -> None:
    """One line per row, one marker per dimension on it, with its interval where it has one."""
    labels = list(rows)
    for d, name in enumerate(DIMENSIONS):
        found = [figures.get(name, {}).get(what) for figures, what in rows.values()]
        found = [
            x if x is None or isinstance(x, dict) else {"value": x, "low": None, "high": None} for x in found
        ]
        places = [i for i, x in enumerate(found) if x is not None and x["value"] is not None]
        points = [found[i] for i in places]
        heights = np.array(places) + 0.22 * (d - 1)
        axes.errorbar([x["value"] for x in points], heights, xerr=_ends(points), label=name, **_points(name))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color="#e0e0e0", linewidth=0.6)
    axes.set_axisbelow(True)


def _groups(measured: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{kind}: {value}", figures)
        for kind, members in measured["subgroups"].items()
        for value, figures in members.items()
    ]


def _ccc_histogram(axes: Axes, values: pd.Series, name: str) -> None:
    low = min(0.0, float(values.min())) if len(values) else 0.0
    axes.hist(values, bins=np.linspace(low, 1, 25), color=COLOURS[name])
    if len(values):
        axes.axvline(values.median(), color="black", linewidth=1, linestyle="--")
        axes.set_title(f"median {values.median():.2f}, {len(values):,} speakers")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("CCC within a speaker")


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _identity(axes: Axes, low: float, high: float) -> None:
    axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=0.9, zorder=0)


def _scale_ticks(axes: Axes, scale: Scale) -> None:
    """Both axes alike, with marks at whole ratings, or at ends and middle of a short or very long scale."""
    span = scale.high - scale.low
    step = 1.0 if 4 <= span <= 10 else span / 2
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.arange(scale.low, scale.high + step / 2, step))
    axes.set_aspect("equal")


def _points(name: str) -> dict[str, Any]:
    return {
        "color": COLOURS[name],
        "marker": MARKERS[name],
        "markersize": 4,
        "linestyle": "none",
        "elinewidth": 1.1,
        "linewidth": 0.8,
    }


def _ends(intervals: list[dict[str, float | None]]) -> np.ndarray:
    """(2, N) distances to the ends; NaN where there are none. A percentile interval may miss its estimate."""
    ends = [
        [np.nan if x[end] is None else max(sign * (x[end] - x["value"]), 0.0) for x in intervals]
        for end, sign in (("low", -1), ("high", 1))
    ]
    return np.array(ends, dtype=float).reshape(2, -1)


def _numbers(path: Path) -> Iterator[str]:
    header = pd.read_csv(path, nrows=0).columns
    return (c for c in header if c not in ("id", "speaker", "gender", "text_source", "label_emotion"))
