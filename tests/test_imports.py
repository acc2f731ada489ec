"""Imports point down: a module may import its own folder and lower layers only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "multimodal_ser"
LAYERS = [
    {"cores", "errors", "offline"},
    {"decoders"},
    {
        "labels",
        "audio",
        "cache",
        "randomness",
        "terminal",
        "report",
        "installation",
        "text_files",
        "textgrids",
        "workers",
    },
    {"utterances"},
    {
        "csv_files",
        "drawing",
        "edits",
        "noises",
        "manifests",
        "set_facts",
        "losses",
        "metrics",
        "settings",
        "checkpoints",
        "environment",
        "optimisation",
        "averaging",
        "processes",
    },
    {"audio_store", "batches", "run_folder"},
    {"corpora", "transcripts", "data", "models", "augmentation", "transcript_errors"},
    {"objectives"},
    {"training", "inference"},
    {"backends", "card", "experiment_data", "front_end_store", "licences", "masks", "pretraining"},
    {
        "config",
        "comparison",
        "evaluation",
        "transcription",
        "podcast",
        "export",
        "doctor",
        "fetching",
    },
    {"bench", "description", "analysis", "scorer"},
    {"demo", "pseudo_labels"},
    {"cli"},
]
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}
FILES = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).name not in ("__main__.py",)]


def unit_of(path: Path) -> str:
    """The layer unit of a file: its folder, or its own name at the top level."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_units(path: Path) -> Iterator[str]:
    """The units of this package that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: use absolute imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == PACKAGE.name and rest and rest[0] != "__version__":
                yield rest[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    unit = unit_of(path)
    if unit == "__init__":
        # Only what must bind every process of an offline run.
        assert set(imported_units(path)) <= {"offline"}, "importing the package must not load its parts"
        return
    assert unit in RANK, f"{unit} has no layer: add it to LAYERS"
    for other in imported_units(path):
        assert other == unit or RANK[other] < RANK[unit], f"{unit} must not import {other}"
