"""`multimodal-ser layers`."""

import argparse
import sys

from multimodal_ser.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="MANIFEST",
        help="manifest of labelled utterances with audio; or `compare` and two or more results.json, to put "
        "encoders, languages, corpora, or before and after fine-tuning side by side",
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME_OR_FOLDER",
        help="checkpoint, hub name, or model folder whose audio encoder is measured; repeatable",
    )
    parser.add_argument(
        "--text-encoder",
        action="append",
        default=[],
        metavar="NAME_OR_FOLDER",
        help="the same for a text encoder, on utterances with a transcript",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a trained model: the layers of its encoders, what it loses without each layer of its mix, and "
        "how much of each dimension it hears and reads",
    )
    parser.add_argument(
        "--pooling", default="statistics", metavar="NAME", help="of time: statistics, attentive, or thirds"
    )
    parser.add_argument(
        "--random-encoders",
        type=int,
        metavar="N",
        help="encoders of the same shape with random weights, as control, 3 or more: each takes as long as "
        "the encoder itself; 5 if not given, 3 for more than 10,000 utterances",
    )
    parser.add_argument("--mlp", action="store_true", help="also probe with a small network")
    parser.add_argument(
        "--sentence-encoder",
        metavar="NAME_OR_FOLDER",
        help="whose sentence embeddings layers are compared with; without it MiniLM, if it is there",
    )
    parser.add_argument(
        "--sentiment",
        metavar="FOLDER",
        help="model that reads the valence of the words alone: a control for layers that only know the words",
    )
    parser.add_argument(
        "--finetune",
        metavar="EXPERIMENT.yaml",
        help="also cut each --encoder behind each block and train it, as this experiment says",
    )
    parser.add_argument(
        "--finetune-layers", nargs="+", type=int, metavar="K", help="only behind these blocks"
    )
    parser.add_argument(
        "--finetune-split",
        default="test",
        metavar="NAME",
        help="the set on which trained encoders are scored",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the experiment"
    )
    parser.add_argument(
        "-o", "--output-dir", metavar="DIR", help="folder for results, tables, figures and page"
    )
    parser.add_argument("--split", nargs="+", metavar="NAME", help="sets to measure on; all if not given")
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of folds, resamples and the random encoders; of the self-test, the first",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="instead: measure made-up layers whose content is known, and show which measures find it",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="made-up encoders of the self-test")


def run(arguments: argparse.Namespace) -> int:
    if arguments.self_test:
        return _self_test(arguments)
    if arguments.inputs[:1] == ["compare"]:
        return _compare(arguments)
    measured = arguments.encoder or arguments.text_encoder or arguments.model
    if len(arguments.inputs) != 1 or not measured or arguments.output_dir is None:
        raise InputError(
            "layers wants MANIFEST --encoder NAME_OR_FOLDER -o DIR (or --text-encoder, or --model), or "
            "--self-test alone, or compare A/results.json B/results.json"
        )
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.analysis.finetuning import FineTuning
        from multimodal_ser.analysis.layer_report import Options, report_layers, summary
        from multimodal_ser.analysis.page import write_page
        from multimodal_ser.manifests import read

    manifest = read(arguments.inputs[0], arguments.audio_root)
    if arguments.split:
        parts = [manifest.split(name) for name in arguments.split]
        kept = {u.id for part in parts for u in part.utterances}
        manifest = manifest.select(lambda utterance: utterance.id in kept)
    results = report_layers(
        manifest,
        arguments.encoder,
        arguments.output_dir,
        arguments.text_encoder,
        arguments.model,
        Options(
            device=arguments.device,
            seed=arguments.seed,
            pooling=arguments.pooling,
            mlp=arguments.mlp,
            sentence_encoder=arguments.sentence_encoder,
            sentiment=arguments.sentiment,
            random_encoders=arguments.random_encoders,
            fine_tuning=_fine_tuning(arguments, FineTuning),
        ),
    )
    print(summary(results))
    print(f"written: {write_page(arguments.output_dir)}")
    return 0


def _fine_tuning(arguments: argparse.Namespace, plan: type) -> object | None:
    if arguments.finetune is None:
        return None
    root = [f"data.audio_root={arguments.audio_root}"] if arguments.audio_root else []
    return plan(
        arguments.finetune,
        arguments.inputs[0],
        tuple(arguments.finetune_layers or ()),
        arguments.finetune_split,
        (*root, *arguments.set),
    )


def _compare(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.analysis import comparing

    compared = comparing.compare(arguments.inputs[1:], arguments.output_dir)
    print(comparing.table(compared))
    if arguments.output_dir:
        print(f"written: {arguments.output_dir}/{comparing.PAGE}")
    return 0


def _self_test(arguments: argparse.Namespace) -> int:
    if arguments.seeds < 1:
        raise InputError(f"--seeds {arguments.seeds}: at least 1; 20 tell how often a measure fails")
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from tqdm import tqdm

        from multimodal_ser.analysis import self_test

    first = arguments.seed
    seeds = tqdm(
        range(first, first + arguments.seeds), desc="self-test", unit="seed", leave=False, file=sys.stderr
    )
    print(self_test.table([self_test.run(seed) for seed in seeds]))
    return 0
