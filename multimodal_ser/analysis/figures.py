"""Figures of a layer report, drawn from `results.json` alone, as PNG and SVG.

For each encoder: curves with bands, a map of layers and measures, and what its layers are like (what is
heard, what is read). For several encoders: their curves over each other on relative depth.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from multimodal_ser.drawing import COLOURS, GREY, MARKERS, STYLE, WIDTH, save

# Measure of the results: its name on a figure.
SHOWN = {
    "probes": "probe (CCC)",
    "mlp": "MLP probe (CCC)",
    "truncation": "layers 0 to k (CCC)",
    "gain": "gain over shallower (explained variance)",
    "left out": "loss without it, ridge (CCC)",
    "left out of the mix": "loss without it, trained mix (CCC)",
    "left out of the model": "loss without it, the model (CCC)",
    "fine-tuned": "cut there and trained (CCC)",
    "cca": "CCA with ratings",
    "cka": "CKA with ratings",
}
CONTROLS = {
    "permuted across speakers": ("labels permuted", ":"),
    "permuted within speakers": ("labels permuted within speakers", (0, (1, 3))),
    "random encoders": ("random encoders, mean", "--"),
}
PANELS = ("probes", "truncation", "gain")
# Of encoders and of what layers are compared with: Okabe and Ito's that the dimensions do not have, and more;
# light and dark ones in turn.
OTHER_COLOURS = ("#E69F00", "#000000", "#CC79A7", "#4D4D4D", "#56B4E9", "#7A5195", "#C0A060", "#B2182B")
OTHER_MARKERS = ("D", "v", "P", "X", "<", ">", "h", "*")
LINES = ("-", "--", "-.", ":")
Curve = Sequence[Sequence[float | None]]


def draw(results: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Draw every figure that the results allow; returns the PNG file of each."""
    figures: dict[str, Callable[[], Figure | None]] = {}
    for number, found in enumerate(results["encoders"].values()):
        figures[f"curves_{number}"] = lambda found=found: curves_figure(found)
        figures[f"map_{number}"] = lambda found=found: map_figure(found)
        figures[f"alike_{number}"] = lambda found=found: alike_figure(found)
    if len(results["encoders"]) > 1:
        figures["encoders"] = lambda: overlay_figure(
            {short(name): found for name, found in results["encoders"].items()}
        )
    return draw_all(figures, folder)


def draw_all(figures: Mapping[str, Callable[[], Figure | None]], folder: Path) -> dict[str, Path]:
    """Draw and save some figures, in both formats; those that return none are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for kind, make in figures.items():
        with rc_context(STYLE):
            figure = make()
            if figure is not None:
                paths[kind] = save(figure, folder / f"{kind}.png")
                save(figure, folder / f"{kind}.svg")
    return paths


def curves_figure(found: Mapping[str, Any]) -> Figure:
    """What each layer carries of each dimension, and below it what the controls give."""
    dimensions, shown = found["dimensions"], [name for name in PANELS if name in found["measures"]]
    figure = Figure(figsize=(WIDTH, 2.0 * len(shown) + 0.5))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, measure in zip(panels, shown, strict=True):
        for name in dimensions:
            _band(axes, found["measures"][measure][name], COLOURS[name], MARKERS[name], label=name)
        _finish(axes, SHOWN[measure])
    for control, (label, line) in CONTROLS.items():
        for k, name in enumerate(dimensions):
            if control in found["measures"]:
                values = _values(found["measures"][control][name])
                panels[0].plot(values, color=COLOURS[name], linestyle=line, linewidth=1)
                if k == 0:
                    panels[0].plot([], [], color=GREY, linestyle=line, linewidth=1, label=label)
    _layer_axis(panels[-1], found["layers"])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def map_figure(found: Mapping[str, Any]) -> Figure:
    """Layers against measures: each row on its own scale, from its worst layer to its best."""
    rows = [
        (name, measure, _values(found["measures"][measure][name]))
        for name in found["dimensions"]
        for measure in SHOWN
        if measure in found["measures"]
    ]
    weights = found.get("learned_weights", {})
    figure = Figure(figsize=(WIDTH, 1.0 + 0.21 * (len(rows) + len(found["dimensions"]))))
    panels = figure.subplots(len(found["dimensions"]), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, found["dimensions"], strict=True):
        lines = {SHOWN[measure]: values for d, measure, values in rows if d == name}
        if name in weights:
            lines["learned weights (diagnostic)"] = np.array(
                weights[name]["normalised"]["weights"], dtype=float
            )
        image = axes.imshow(np.stack([_spread(v) for v in lines.values()]), aspect="auto", cmap="cividis",
                            vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
        for row, values in enumerate(lines.values()):
            if np.isfinite(values).any():
                axes.plot(
                    np.nanargmax(values),
                    row,
                    marker="*",
                    color="black",
                    markersize=7,
                    linestyle="none",
                    markeredgecolor="white",
                    markeredgewidth=0.6,
                )
        axes.set_yticks(range(len(lines)), list(lines))
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_title(name, color=COLOURS[name], loc="left")
        axes.spines[:].set_visible(False)
    _layer_axis(panels[-1], found["layers"])
    bar = figure.colorbar(image, ax=list(panels), shrink=0.6, aspect=25)
    bar.set_ticks([0, 1], labels=["worst\nlayer", "best\nlayer"])
    return figure


def alike_figure(found: Mapping[str, Any]) -> Figure | None:
    """How alike each layer is to what is heard, to what is read, and to who speaks."""
    others = found["comparisons"]
    if not others:
        return None
    who = {name: curve for name, curve in found["confounders"].items() if "accuracy" in name}
    figure = Figure(figsize=(WIDTH, 2.5 if not who else 4.6))
    grid = figure.subplots(2 if who else 1, 2, sharex=True, squeeze=False)
    for axes, measure in zip(grid[0], ("cca", "cka"), strict=True):
        for number, (name, other) in enumerate(others.items()):
            _band(axes, other[measure], OTHER_COLOURS[number], OTHER_MARKERS[number], label=name)
        _finish(axes, f"{measure.upper()} (no unit)")
    if who:
        rest = {name: curve for name, curve in found["confounders"].items() if name not in who}
        for axes, curves, label in ((grid[1][0], who, "balanced accuracy"), (grid[1][1], rest, "CCC")):
            for number, (name, curve) in enumerate(curves.items(), len(others)):
                _band(axes, curve, OTHER_COLOURS[number % len(OTHER_COLOURS)], OTHER_MARKERS[number % 8],
                      label=name.split(" (")[0])  # fmt: skip
            _finish(axes, label)
            axes.legend(loc="best", fontsize=8.5)
    for axes in grid[-1]:
        _layer_axis(axes, found["layers"], ticks=7)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def overlay_figure(encoders: Mapping[str, Mapping[str, Any]], measure: str = "probes") -> Figure | None:
    """The curves of several encoders over each other, a panel for each dimension, on relative depth."""
    dimensions = [d for d in COLOURS if any(d in found["dimensions"] for found in encoders.values())]
    figure = Figure(figsize=(WIDTH, 3.1 + 0.17 * len(encoders)))
    panels = figure.subplots(1, len(dimensions), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, dimensions, strict=True):
        for number, (label, found) in enumerate(encoders.items()):
            if name in found["dimensions"]:
                curve = found["measures"][measure][name]
                _band(
                    axes,
                    curve,
                    OTHER_COLOURS[number % len(OTHER_COLOURS)],
                    OTHER_MARKERS[number % 8],
                    label=label,
                    depth=True,
                    line=LINES[number // len(OTHER_COLOURS) % len(LINES)],
                )
        axes.set_title(name, color=COLOURS[name])
        _finish(axes, SHOWN[measure] if axes is panels[0] else "")
        axes.set_xlabel("relative depth")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    longest = max(len(label) for label in encoders)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3 if longest < 26 else 1
    )
    return figure


def short(name: str) -> str:
    """An encoder's name without the folders above it."""
    return name if name.count("/") == 1 and not name.startswith(("/", ".")) else Path(name).name


def _band(
    axes: Axes, curve: Curve, colour: str, marker: str, label: str, depth: bool = False, line: str = "-"
) -> None:
    """A curve with its interval as a band; gaps where it is undefined."""
    values, low, high = np.array(curve, dtype=float).reshape(-1, 3).T
    at = np.arange(len(values)) / (max(len(values) - 1, 1) if depth else 1)
    every = max(1, len(values) // 12)
    axes.plot(at, values, color=colour, marker=marker, markersize=4, markevery=every, linewidth=1.4,
              linestyle=line, label=label)  # fmt: skip
    axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)


def _finish(axes: Axes, label: str) -> None:
    axes.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(label.replace(" (", "\n(").replace("explained ", "explained\n"))


def _layer_axis(axes: Axes, layers: int, ticks: int = 13) -> None:
    axes.set_xlabel("layer (0: input of the first block)")
    axes.set_xticks(range(0, layers, max(1, round(layers / ticks))))


def _values(curve: Curve) -> NDArray[np.float64]:
    return np.array(curve, dtype=float).reshape(-1, 3)[:, 0]


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between 0, the worst, and 1, the best; all 0 where nothing differs."""
    if np.isnan(values).all():
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
