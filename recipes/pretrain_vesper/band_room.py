"""Why some starts of Vesper's small spans lie outside their band: how many starts the bands have room for.

    python recipes/pretrain_vesper/band_room.py MANIFEST

Room is the greatest number of starts in either band that keep the distance, found by going from the first to
the last. Epoch 0, seed 0, as `multimodal-ser masks --policy vesper` draws them.
"""

import sys

import numpy as np

from multimodal_ser.manifests import read
from multimodal_ser.masks import masked
from multimodal_ser.objectives.masking import BandConfig


def room(places: np.ndarray, gap: int) -> int:
    """How many of ascending places can be taken, `gap` or more from one to the next."""
    count, earliest = 0, -1
    for place in places:
        if place >= earliest:
            count, earliest = count + 1, place + gap
    return count


def main(path: str) -> None:
    config = BandConfig()
    gap, rows, shares = config.small + 1, [], []
    for clip in masked(read(path), "vesper"):
        level, spans = clip.intensity, clip.spans["small spans"]
        in_high = (level >= config.high[0]) & (level <= config.high[1])
        in_band = in_high | ((level >= config.low[0]) & (level <= config.low[1]))
        shares.append(in_band.mean())
        places = np.flatnonzero(in_band[: max(1, len(level) - config.small + 1)])
        rows.append((len(spans.starts), spans.in_band.sum(), room(places, gap)))
    drawn, inside, fits = np.array(rows).T
    enough = fits >= drawn
    possible = np.minimum(fits, drawn)
    print(f"{len(rows)} clips; {100 * np.mean(shares):.0f} % of the frames lie in a band")
    print("| clips | share of the clips % | starts in their band % | at most % |")
    print("|---|---|---|---|")
    every = np.ones(len(rows), dtype=bool)
    for name, chosen in (("all", every), ("bands have room", enough), ("bands have no room", ~enough)):
        total = max(1, drawn[chosen].sum())
        print(
            f"| {name} | {100 * chosen.mean():.1f} | {100 * inside[chosen].sum() / total:.1f} | "
            f"{100 * possible[chosen].sum() / total:.1f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1])
