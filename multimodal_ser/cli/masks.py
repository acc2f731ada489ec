"""`multimodal-ser masks`."""

import argparse

POLICIES = ("ems", "ems_random", "ems_as_released", "vesper", "vesper_random", "vesper_as_released")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="MANIFEST", help="whose utterances are masked")
    parser.add_argument("--policy", required=True, choices=POLICIES, help="which rule hides what")
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--clips", type=int, default=4, metavar="N", help="draw the first N utterances")
    parser.add_argument("--epoch", type=int, default=0, help="of training, counted from 0")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--split", metavar="NAME", help="only this set")
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.manifests import read
        from multimodal_ser.masks import draw_masks

    manifest = read(arguments.manifest, arguments.audio_root)
    if arguments.split:
        manifest = manifest.split(arguments.split)
    counted, pictures = draw_masks(
        manifest,
        arguments.policy,
        arguments.output_dir,
        arguments.clips,
        arguments.epoch,
        arguments.seed,
    )
    print(f"{arguments.policy}, {len(manifest)} utterances, epoch {arguments.epoch}, seed {arguments.seed}")
    for name, values in counted.items():
        print(
            f"  {name}: {values['masked_share']:.1%} of the frames hidden, {values['span_overlap']:.1%} of "
            f"the spans lost to overlap, {values['in_band']:.1%} of the starts in their band"
        )
    print(f"written: {len(pictures)} pictures in {arguments.output_dir}")
    return 0
