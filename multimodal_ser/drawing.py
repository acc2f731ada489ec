"""How every figure looks, and how it is saved.

The three dimensions always have the same colours (Okabe and Ito's, which people who see few colours can tell
apart) and the same markers. Text is 9.5 points on a figure of 160 mm, the text width of a page, and 5 points
where that is shrunk to one of two columns.
"""

from pathlib import Path

from matplotlib.figure import Figure

from multimodal_ser.cache import atomic_path

COLOURS = {"arousal": "#D55E00", "valence": "#0072B2", "dominance": "#009E73"}
MARKERS = {"arousal": "o", "valence": "s", "dominance": "^"}
GREY = "#606060"
WIDTH = 6.3  # inches
DOTS_PER_INCH = 160
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "multimodal_ser",  # the same figure is the same file
}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, of the kind that the file's name says, and return its path."""
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", metadata=metadata)
    return path
