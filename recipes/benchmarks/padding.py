"""What padding does to a clip, at the true sizes of published encoders, with random weights.

A clip of noise is encoded alone and again padded with zeros, by this package and by the plain forward of
transformers with an attention mask. Printed is the largest relative difference over all layers: the norm of
the difference over the valid frames, divided by the norm of the clip's own states.

    OMP_NUM_THREADS=2 python recipes/benchmarks/padding.py
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel, Wav2Vec2FeatureExtractor

from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder, HubertEncoderConfig

SAMPLE_RATE = 16_000  # samples per second
LOUDNESS = 0.1  # standard deviation of the noise


@dataclass(frozen=True)
class Difference:
    """Largest relative change of any layer through padding."""

    parameters: int
    ours: float
    plain: float
    to_plain: float  # between ours and the plain forward, both without padding


@torch.inference_mode()
def measure(config: HubertEncoderConfig, seconds: float, padded_seconds: float, seed: int = 0) -> Difference:
    """Encode one clip alone and padded, both ways."""
    torch.manual_seed(seed)
    encoder = HubertEncoder.from_config(config).eval()
    clip = LOUDNESS * torch.randn(1, round(seconds * SAMPLE_RATE))
    padded = torch.zeros(1, round(padded_seconds * SAMPLE_RATE))
    padded[:, : clip.shape[1]] = clip
    lengths = torch.tensor([clip.shape[1]])
    alone = encoder(clip, lengths).layers
    network = plain_network(encoder)
    normalise = config.normalise_input
    plain = plain_layers(network, normalise, clip[0], clip.shape[1])
    return Difference(
        sum(parameter.numel() for parameter in encoder.parameters()),
        largest_difference(encoder(padded, lengths).layers, alone),
        largest_difference(plain_layers(network, normalise, clip[0], padded.shape[1]), plain),
        largest_difference(alone, plain),
    )


def plain_network(encoder: HubertEncoder, attention: str | None = None) -> PreTrainedModel:
    """transformers' own network with the weights of `encoder`; `attention` of its kinds, or its choice."""
    settings = AutoConfig.for_model(**encoder.config.network)
    network = AutoModel.from_config(settings, attn_implementation=attention)
    network.load_state_dict(encoder.network.state_dict())
    return network.eval()


def plain_layers(network: PreTrainedModel, normalise: bool, clip: Tensor, samples: int) -> tuple[Tensor, ...]:
    """All layers of a clip, padded to `samples`, as transformers' feature extractor and forward give them."""
    extract = Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)
    inputs = extract(
        clip.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt", padding="max_length", max_length=samples
    )
    output = network(**inputs, output_hidden_states=True)
    # Which side of the final layer norm the last hidden state is on has changed between versions.
    return (*output.hidden_states[:-1], output.last_hidden_state)


def largest_difference(layers: tuple[Tensor, ...], references: tuple[Tensor, ...]) -> float:
    """Over layers, of the relative difference on the frames that the references have."""
    return max(
        float((layer[:, : reference.shape[1]] - reference).norm() / reference.norm())
        for layer, reference in zip(layers, references, strict=True)
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--padded-seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=PUBLISHED, help="one encoder instead of all")
    arguments = parser.parse_args()
    shape = f"{arguments.seconds:g} s padded to {arguments.padded_seconds:g} s"
    print(f"{shape}, torch {torch.__version__}, CPU, float32")
    print(f"{'sizes of':30} {'parameters':>12} {'ours':>10} {'plain':>10} {'ours to plain, unpadded':>25}")
    for name in [arguments.only] if arguments.only else PUBLISHED:
        result = measure(PUBLISHED[name], arguments.seconds, arguments.padded_seconds)
        print(
            f"{name:30} {result.parameters / 1e6:10.2f} M {result.ours:10.1e} {result.plain:10.2g} "
            f"{result.to_plain:25.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
