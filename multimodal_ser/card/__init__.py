"""The model card: what a model was made from, how, how good it is, and what it is not for.

`card.json` in a model folder holds the facts, `README.md` says them, in the form that model hubs read.
`train` writes both, `evaluate` adds what it measured. The facts are counts and figures: no speaker, no
transcript, no label of an utterance and no path of a machine is among them.
"""

from multimodal_ser.card.facts import CardConfig, encoder_name, training_facts
from multimodal_ser.card.files import add_evaluation, carry_card, made_from, read_facts, write_card

__all__ = [
    "CardConfig",
    "add_evaluation",
    "carry_card",
    "encoder_name",
    "made_from",
    "read_facts",
    "training_facts",
    "write_card",
]
