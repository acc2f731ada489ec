"""The report of `bench` as lines and as a figure."""

from pathlib import Path
from typing import Any

from multimodal_ser.drawing import GREY, STYLE, WIDTH, save

_COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7")
_REFERENCE = "audio torch-fp32"


def lines(report: dict[str, Any]) -> str:
    """One line per stage, and what stands above all of them."""
    shown = [f"{'stage':22} {'x real time':>11} {'per core':>9} {'of limit':>9}  against the reference"]
    for name, stage in report["stages"].items():
        core, percent = stage["xrt_per_core"], stage["percent_of_limit"]
        row = f"{name:22} {stage['xrt']:11.1f} {'-' if core is None else format(core, '.1f'):>9} "
        row += f"{'-' if percent is None else format(percent, '.0f') + ' %':>9}"
        ratio = stage.get("ratio_to_reference", {}).get("processor")
        if ratio and name != _REFERENCE:
            row += f"  {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        shown.append(row)
    shown += [f"{name:22} not measured: {reason}" for name, reason in report["unavailable"].items()]
    peaks = ", ".join(f"{n} {p / 1e9:.0f}" for n, p in report["peak_operations_per_second"].items())
    shown.append(f"limit in this run, GFLOP/s on {report['machine']['threads']} threads: {peaks}")
    shown.append(
        f"peak memory {report['peak_memory_bytes'] / 1e6:.0f} MB; padding {report['padding_share']:.0%}"
    )
    return "\n".join(shown)


def draw(report: dict[str, Any], path: Path) -> Path:
    """Where an hour of audio goes: one bar per way to run the audio branch."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    stages = {name: stage["seconds_per_hour"] for name, stage in report["stages"].items()}
    shared = {name: value for name, value in stages.items() if not name.startswith("audio ")}
    bars = {name.removeprefix("audio "): value for name, value in stages.items() if name.startswith("audio ")}
    bars = bars or {"all": 0.0}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.3 + 0.35 * len(bars)))
        axes = figure.subplots()
        left = [0.0] * len(bars)
        parts = {"audio branch": list(bars.values())} | {n: [v] * len(bars) for n, v in shared.items()}
        for number, (name, values) in enumerate(parts.items()):
            axes.barh(list(bars), values, left=left, label=name, color=_COLOURS[number % len(_COLOURS)])
            left = [a + b for a, b in zip(left, values, strict=True)]
        for row, total in enumerate(left):
            axes.text(total, row, f" {total:.0f} s", va="center", color=GREY)
        axes.set_xlim(0, max(left) * 1.12)
        axes.invert_yaxis()
        axes.set_xlabel("seconds of computing per hour of audio")
        figure.legend(loc="outside lower center", ncols=3)
        return save(figure, path)
