"""The encoder with known places: what makes its places known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scripts import RECIPES, load_script

recipe = load_script(RECIPES / "layer_relevance" / "known_places.py")


@pytest.mark.slow
def test_a_block_that_learned_nothing_adds_nothing() -> None:
    sound = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0)) * 0.1
    encoder = recipe.silent_encoder()
    layers = encoder(sound, torch.tensor([8_000, 8_000])).layers
    assert len(layers) == recipe.CONFIG.blocks + 1
    assert all(torch.equal(layer, layers[0]) for layer in layers)
    assert layers[0].std() > 0.5
    head = torch.nn.Linear(recipe.CONFIG.width, 1)
    learner = torch.nn.ModuleDict({"block": encoder.blocks[1], "head": head})
    values = torch.rand(2, 1, generator=torch.Generator().manual_seed(1))
    recipe.fit(learner, layers[0], 2, lambda x, rows: recipe.value_loss(head, values, x, rows))
    layers = encoder(sound, torch.tensor([8_000, 8_000])).layers
    changed = [not torch.equal(above, below) for below, above in pairwise(layers)]
    assert changed == [number == 1 for number in range(recipe.CONFIG.blocks)]  # the second block alone


def test_a_value_is_the_share_of_pairs_with_one_sign_and_counts_of_signs_do_not_tell_it() -> None:
    generator = np.random.default_rng(0)
    drawn = [recipe.paired(generator) for _ in range(400)]
    signs, values = (np.array(part) for part in zip(*drawn, strict=True))
    signs = signs.reshape(len(drawn), 3, recipe.PAIRS, 2)
    np.testing.assert_allclose((signs[..., 0] == signs[..., 1]).mean(2), values)
    excess = signs.sum((2, 3)) - recipe.PAIRS
    assert np.abs(excess).max() <= 1  # one sign as often as the other, but for one pair
    for value in np.unique(values):
        assert abs(excess[values == value].mean()) < 0.2
