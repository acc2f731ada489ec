"""The command line: `multimodal-ser VERB`. A verb parses its arguments and calls one function.

One module per verb holds `add_arguments(parser)` and `run(arguments)`; it imports nothing heavy at its top,
so that `--help` answers at once. Progress goes to standard error, results to standard output or to files.

Exit codes: 0 all done, 1 a bug, 2 the user's input is wrong, 3 some items failed.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from multimodal_ser import __version__
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.installation import broken_import
from multimodal_ser.offline import forbid_connections

BUG, WRONG_INPUT, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130

# Verb: what it does. The module multimodal_ser.cli.<verb> does it.
VERBS = {
    "demo": "the whole story on a synthetic corpus, offline, on a CPU, in minutes",
    "prepare": "turn a corpus folder into a checked manifest",
    "manifest": "show a manifest; filter, merge or draw it",
    "describe": "count the parameters of an experiment's model, and say what share of HuBERT that is",
    "transcribe": "fill in the words of a manifest by speech recognition, and say which can be trusted",
    "train": "train any objective that an experiment file describes",
    "evaluate": "measure a model on labelled sets, with intervals over speakers",
    "score": "how episodes feel, minute by minute and speaker by speaker",
    "compare": "one table over the runs of a recipe: how good, how large, against what",
    "export": "write a model as ONNX graphs that run without this package, and measure what they lose",
    "bench": "measure speed against the limit of the machine, and accuracy of reduced precision",
    "layers": "measure which layers of an encoder carry which dimension",
    "pseudo_labels": "cluster an encoder's frames and write the clusters as frame labels",
    "masks": "draw what a masking policy of pretraining hides of a few clips, and count it",
    "fetch": "gather weights once, in folders that can be carried to a machine without network",
    "licences": "list the licences of the code, of a model's weights and of the data behind them",
    "doctor": "say whether this machine is fit, and what to mend",
}


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of an option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or action.default == []:
            return action.help
        return super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = [_with_dashes(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    try:
        return _run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except SomeFailed as error:
        print(f"some items failed: {error}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt as error:
        print(f"interrupted: {error}" if str(error) else "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if broken := broken_import(error):
            print(f"error: {broken}", file=sys.stderr)
            return WRONG_INPUT
        traceback.print_exc()
        print("this is a bug in multimodal_ser; please report the lines above", file=sys.stderr)
        return BUG


def _run(arguments: list[str]) -> int:
    verb, rest = _parse_verb(arguments)
    module = importlib.import_module(f"multimodal_ser.cli.{verb}")
    parser = argparse.ArgumentParser(
        prog=f"multimodal-ser {verb}",
        description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    if hasattr(module, "parse"):  # a verb whose options depend on its first argument
        return module.run(module.parse(parser, rest)) or 0
    module.add_arguments(parser)
    return module.run(parser.parse_args(rest)) or 0


def _parse_verb(arguments: list[str]) -> tuple[str, list[str]]:
    """Split off the verb; everything behind it belongs to the verb's own parser."""
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="multimodal-ser",
        description="Speech emotion recognition from voice and words: arousal, valence, dominance.",
        epilog="verbs:\n" + "\n".join(f"  {verb:{width}}  {text}" for verb, text in VERBS.items())
        + "\n\n`multimodal-ser VERB --help` lists the options of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"multimodal-ser {__version__}")
    parser.add_argument(
        "--offline", action="store_true", help="let no connection leave this machine; stands before the verb"
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do; see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments or ["--help"])
    if parsed.offline:
        forbid_connections()
    return parsed.verb, parsed.rest


def _with_dashes(argument: str) -> str:
    """`--output_dir` and `--output-dir` are the same flag."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value
