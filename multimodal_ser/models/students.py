"""Students: smaller encoders made from a HuBERT-like teacher.

A student has fewer blocks, each a copy of one of the teacher's or the mean of several; or it is thinner, and
then its blocks start at random. All else that fits is the teacher's: convolutions, projection, positions,
and the table of position biases that WavLM keeps in its first block.

The rules of Chen et al. (Vesper, 2024) to choose blocks, numbers from 0, for 4 of 24: `uniform` 0, 6, 12, 18;
`shifted` 0, 5, 11, 17; `first` 0 to 3; `average` the means of equal groups; `growing` the means of 0-1, 2-5,
6-13, 14-23; `random` none.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models.encoder_folder import rebuilt_with_mask_vector
from multimodal_ser.models.encoding import AudioEncoder, load_strictly

RULES = ("uniform", "shifted", "first", "average", "growing", "random")
_BLOCKS = "network.encoder.layers."
_POSITION_BIAS = f"{_BLOCKS}0.attention.rel_attn_embed.weight"


@dataclass(frozen=True)
class StudentConfig:
    """How a student is made from a teacher."""

    blocks: int = 2
    start: str = "first"  # the rule that says which of the teacher's blocks its own begin as
    copied: tuple[int, ...] = ()  # these blocks of the teacher instead, from 0
    width: int | None = None  # None = as wide as the teacher
    heads: int | None = None
    feedforward: int | None = None
    final_norm: bool = True  # False drops the norm behind the last block of pre-norm teachers
    frozen_front_end: bool = True

    def __post_init__(self) -> None:
        if self.start not in RULES:
            raise InputError(f"start = '{self.start}'{nearest(self.start, RULES)}; known: {', '.join(RULES)}")
        if self.blocks < 1:
            raise InputError(f"blocks = {self.blocks}: a student has 1 or more")
        if self.copied and len(self.copied) != self.blocks:
            raise InputError(f"copied names {len(self.copied)} blocks, but the student has {self.blocks}")
        if self.is_thin and (self.copied or self.start != "random"):
            raise InputError("a student of another width cannot begin as the teacher's blocks: start: random")

    @property
    def is_thin(self) -> bool:
        """Whether its blocks have another shape than the teacher's."""
        return (self.width, self.heads, self.feedforward) != (None, None, None)


def make_student(teacher: AudioEncoder, config: StudentConfig, hides: bool = False) -> AudioEncoder:
    """A student of a HuBERT-like teacher; `hides` gives it a vector that stands for hidden frames."""
    if not hasattr(teacher, "forward_from_front_end"):
        raise InputError(
            f"a {type(teacher).__name__} gives no student of its own kind; take a HuBERT-like teacher, or "
            "name an untrained student as model.audio.encoder"
        )
    network = {**teacher.config.network, "num_hidden_layers": config.blocks}
    named = {
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feedforward,
    }
    network |= {name: value for name, value in named.items() if value is not None}
    if network["hidden_size"] % network["num_attention_heads"]:
        raise InputError(
            f"width {network['hidden_size']} is no multiple of {network['num_attention_heads']} heads"
        )
    settings = replace(
        teacher.config,
        network=network,
        final_norm=config.final_norm,
        frozen_front_end=config.frozen_front_end,
    )
    student = type(teacher).from_config(settings)
    groups = [(k,) for k in config.copied] or groups_of(config.start, teacher.num_layers, config.blocks)
    own = student.state_dict()
    given = _weights(teacher, groups)
    load_strictly(student, {name: given[name] if _fits(given, name, x) else x for name, x in own.items()})
    return rebuilt_with_mask_vector(student) if hides else student


def groups_of(rule: str, teacher: int, student: int) -> list[tuple[int, ...]]:
    """For each of the student's blocks the blocks of the teacher whose mean it begins as; none for random."""
    if rule == "random":
        return []
    if student > teacher:
        raise InputError(f"a student of {student} blocks cannot begin as the {teacher} blocks of its teacher")
    edges = [teacher * k // student for k in range(student + 1)]
    if rule == "growing":
        edges = [min(2 ** (k + 1) - 2, teacher) for k in range(student)] + [teacher]
        if edges[-2] >= teacher:
            raise InputError(f"growing groups: {teacher} blocks are too few for a student of {student}")
    if rule in ("average", "growing"):
        return [tuple(range(low, high)) for low, high in itertools.pairwise(edges)]
    if rule == "first":
        return [(k,) for k in range(student)]
    return [(max(0, edge - (rule == "shifted")),) for edge in edges[:-1]]


def _weights(teacher: AudioEncoder, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The teacher's weights by the names that they have in the student."""
    state = teacher.state_dict()
    found = {name: x for name, x in state.items() if not name.startswith(_BLOCKS)}
    for number, group in enumerate(groups):
        if wrong := [k for k in group if not 0 <= k < teacher.num_layers]:
            raise InputError(f"block {wrong[0]}: the teacher has blocks 0 to {teacher.num_layers - 1}")
        first = f"{_BLOCKS}{group[0]}."
        for ending in [name.removeprefix(first) for name in state if name.startswith(first)]:
            parts = [state[f"{_BLOCKS}{k}.{ending}"] for k in group if f"{_BLOCKS}{k}.{ending}" in state]
            found[f"{_BLOCKS}{number}.{ending}"] = parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)
    if _POSITION_BIAS in state:
        found[_POSITION_BIAS] = state[_POSITION_BIAS]
    return found


def _fits(given: dict[str, Tensor], name: str, own: Tensor) -> bool:
    return name in given and given[name].shape == own.shape
