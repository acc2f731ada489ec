"""The limit of the machine: the arithmetic of a network, and how much arithmetic a second holds.

A multiplication and an addition count as two. Only convolutions and matrix products are counted; norms,
activations and softmax are memory traffic, which is why no network reaches the limit.
"""

import math
import time
from collections.abc import Callable

import torch

from multimodal_ser.models.hubert import HubertEncoder

CPU = torch.device("cpu")
SIZES = {"cpu": (256, 512, 1024), "cuda": (4096, 8192)}  # sides of the square products that are tried
_PATIENCE = 0.5  # seconds per size: a processor without units for a precision takes far longer than others
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def hubert_flops(encoder: HubertEncoder, samples: int) -> float:
    """Arithmetic of a HuBERT-like encoder on one clip."""
    settings = encoder.network.config
    total, frames = front_end_flops(encoder, samples)
    width_in = settings.conv_dim[-1]
    width = settings.hidden_size
    total += 2.0 * frames * width_in * width
    # An even kernel is padded by half its size on both sides: one frame more, dropped afterwards.
    kernel, groups = settings.num_conv_pos_embeddings, settings.num_conv_pos_embedding_groups
    places = frames + (kernel % 2 == 0)
    total += 2.0 * places * width * (width // groups) * kernel
    linear = 2.0 * frames * (4 * width**2 + 2 * width * settings.intermediate_size)
    attention = 4.0 * frames**2 * width
    return total + settings.num_hidden_layers * (linear + attention)


def front_end_flops(encoder: HubertEncoder, samples: int) -> tuple[float, int]:
    """Arithmetic of the convolutions below the blocks, and how many frames they give."""
    settings, frames, width_in, total = encoder.network.config, samples, 1, 0.0
    layout = zip(settings.conv_dim, settings.conv_kernel, settings.conv_stride, strict=True)
    for width, kernel, stride in layout:
        frames = (frames - kernel) // stride + 1
        total += 2.0 * frames * width * width_in * kernel
        width_in = width
    return total, frames


def seconds_of(run: Callable[[], object], device: torch.device = CPU) -> float:
    """On the clock, until the device has done all of it."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begin = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - begin


def peak(precision: str, device: torch.device = CPU) -> float | None:
    """Operations per second of the best matrix product, on the threads that torch has; None if unknown."""
    if precision not in TYPES:
        return None
    best, sizes = 0.0, SIZES[device.type]
    for size in sizes:
        a = torch.ones(size, size, dtype=TYPES[precision], device=device)
        begin = time.perf_counter()
        while time.perf_counter() - begin < _PATIENCE:
            best = max(best, 2 * size**3 / seconds_of(lambda a=a: torch.mm(a, a), device))
        if best < 2 * math.pow(sizes[-1], 3) / _PATIENCE / 20:  # the next size would take seconds
            break
    return best
