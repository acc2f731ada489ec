"""`multimodal-ser prepare NAME FOLDER -o DIR`: a corpus folder to a checked manifest."""

import argparse
import ast
from pathlib import Path

from multimodal_ser.cores import usable_cores
from multimodal_ser.corpora import READERS

_COMMON = (
    "corpus",
    "folder",
    "output",
    "jobs",
    "verify_audio",
    "keep_missing_audio",
    "fold",
    "proxy_dimensions",
    "allow_partial",
)


def parse(parser: argparse.ArgumentParser, rest: list[str]) -> argparse.Namespace:
    """Parse the name of the corpus, then its own options together with those of every corpus."""
    from multimodal_ser.corpora.preparation import reader_named

    if not rest or rest[0].startswith("-"):
        _describe_corpora(parser)
        return parser.parse_args(rest)
    name = rest[0]
    reader = reader_named(name)
    parser.prog += f" {name}"
    parser.description = _summary(READERS[name])
    _add_common(parser)
    reader.add_arguments(parser)
    return parser.parse_args(rest[1:], argparse.Namespace(corpus=name))


def run(arguments: argparse.Namespace) -> None:
    """Prepare, show the report, and fail if items failed."""
    from multimodal_ser.corpora.preparation import prepare

    common = {
        name: getattr(arguments, name) for name in _COMMON if name not in ("corpus", "folder", "output")
    }
    options = {name: value for name, value in vars(arguments).items() if name not in _COMMON}
    preparation = prepare(arguments.corpus, arguments.folder, arguments.output, **common, options=options)
    print(preparation.screen())
    preparation.raise_failures()


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the corpus, as it was unpacked")
    parser.add_argument(
        "-o",
        "--output-dir",
        dest="output",
        type=Path,
        required=True,
        metavar="DIR",
        help="where manifest.jsonl, prepare.json, dropped.csv and flagged.csv go",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=_positive,
        default=min(8, usable_cores()),
        metavar="N",
        help="work on N audio files at a time",
    )
    parser.add_argument(
        "--verify-audio",
        action="store_true",
        help="decode every file to its end, compare all with each other; can be interrupted and resumed",
    )
    parser.add_argument(
        "--keep-missing-audio",
        action="store_true",
        help="keep utterances whose audio is not here, for text or for another machine",
    )
    parser.add_argument(
        "--fold",
        type=_positive,
        metavar="K",
        help="test on fold K, develop on the next, train on the rest, if the corpus has folds",
    )
    parser.add_argument(
        "--proxy-dimensions",
        action="store_true",
        help="add arousal, valence and dominance from word norms of the emotion's name, marked as proxies",
    )
    parser.add_argument("--allow-partial", action="store_true",
                        help="missing audio and counts unlike the published ones are no failure")  # fmt: skip


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "whole number from 1"  # argparse names the function in its message


def _describe_corpora(parser: argparse.ArgumentParser) -> None:
    width = max(map(len, READERS))
    lines = [f"  {name:{width}}  {_summary(module)}" for name, module in READERS.items()]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "multimodal-ser prepare NAME FOLDER -o DIR [options]"
    parser.epilog = "corpora:\n" + "\n".join(lines) + (
        "\n\n`multimodal-ser prepare NAME --help` lists the options of a corpus."
    )  # fmt: skip
    parser.add_argument("corpus", metavar="NAME", help="the corpus, first of all; see below")
    parser.add_argument("folder", metavar="FOLDER", help="the corpus, as it was unpacked")


def _summary(module: str) -> str:
    """The first line of a reader's documentation, without importing the reader and what it needs."""
    import multimodal_ser.corpora as corpora

    path = Path(corpora.__file__).with_name(f"{module}.py")
    if not path.is_file():
        return "(not part of this installation)"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
