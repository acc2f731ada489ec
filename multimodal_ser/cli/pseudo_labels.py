"""`multimodal-ser pseudo_labels`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="MANIFEST", help="its utterances get frame labels")
    parser.add_argument(
        "--encoder",
        required=True,
        metavar="NAME_OR_FOLDER",
        help="checkpoint, hub name, or folder of ours; mfcc: cepstra, at the frames of HuBERT (--layer 0)",
    )
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for what is written")
    parser.add_argument(
        "--layer", type=int, default=9, help="whose frames are clustered; 0 is below the blocks"
    )
    parser.add_argument("--clusters", type=int, default=50, metavar="K", help="how many")
    parser.add_argument("--seed", type=int, default=1337, help="of the k-means starts")
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="fit the clusters on all audio, test speakers' too, as published; not on the split train alone",
    )
    parser.add_argument(
        "--fold", type=int, metavar="F", help="split train is then what `data.fold=F` trains on"
    )
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.experiment_data import DataConfig, load_manifest
        from multimodal_ser.pseudo_labels import pseudo_label

    data = DataConfig(arguments.manifest, arguments.audio_root, fold=arguments.fold)
    written = pseudo_label(
        load_manifest(data),
        arguments.encoder,
        arguments.output_dir,
        arguments.layer,
        arguments.clusters,
        arguments.seed,
        arguments.transductive,
    )
    print(f"written: {written}")
    return 0
