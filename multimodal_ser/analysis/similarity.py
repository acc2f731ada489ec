"""How alike a layer is to something else: ratings, acoustic measures, sentence embeddings.

Two measures that need no tuned probe. X (N, D) is a layer, Y (N, E) what it is compared with.

- Debiased linear CKA (Kornblith et al., 2019, with the unbiased HSIC of Song et al., 2012, as in Nguyen et
  al., 2021). With the diagonal of XX' and YY' left out, all its terms are sums over rows, so the N x N
  kernels never exist. It asks whether what the layer *mostly* does is what Y does; its expectation is 0 for
  unrelated X and Y, whatever D and N, so values slightly below 0 occur.
- Projection-weighted CCA (Morcos et al., 2018; weights over the layer's own directions): whether Y is
  somewhere in the layer. CCA finds a perfect match in noise once D comes near N, so the layer is reduced to
  its principal components and shrunk, and the canonical pairs are found on some speakers and correlated on
  others.

CKA resamples are random halves of the speakers. A sample with doubles, as the bootstrap draws it, would
undo the debiasing; and half of n things without replacement varies around all of them exactly as much as n
things vary around the truth: (1 - 1/2) / (n / 2) = 1 / n.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_ser.analysis.probes import BLOCK, fold_sums, standardised
from multimodal_ser.analysis.relevance import Relevance
from multimodal_ser.metrics import Resampling, moment_rows, pearson_of

COMPONENTS = 64  # principal components of a layer that CCA sees, at most
ROWS_PER_COMPONENT = 10  # fewer components where rows are few
SHRINKAGE = 0.01  # share of the mean variance added to each variance before whitening
GROUPS = 24  # groups of speakers, of which CKA draws halves: 2.7 million halves
HALVES = 400  # drawn
_TINY = 1e-12


@dataclass(frozen=True)
class Canonical:
    """Canonical pairs of X and Y found on some rows."""

    mean_x: NDArray[np.float64]
    mean_y: NDArray[np.float64]
    weights_x: NDArray[np.float64]  # (D, pairs)
    weights_y: NDArray[np.float64]  # (E, pairs)
    correlations: NDArray[np.float64]  # (pairs,) on these rows
    shares: NDArray[np.float64]  # (pairs,) how much of X each pair is; they add up to 1


def canonical(
    x: ArrayLike, y: ArrayLike, components: int | None = None, shrinkage: float = SHRINKAGE
) -> Canonical:
    """Canonical correlation analysis of X and Y after reducing both to principal components."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    limit = components or _components(len(x))
    own = x.T @ x / len(x)
    white_x, white_y = (_whitening(c, limit, shrinkage) for c in (own, y.T @ y / len(y)))
    return _pairs(mean_x, mean_y, own, x.T @ y / len(x), white_x, white_y)


def _pairs(
    mean_x: NDArray[np.float64],
    mean_y: NDArray[np.float64],
    own: NDArray[np.float64],
    cross: NDArray[np.float64],
    white_x: NDArray[np.float64],
    white_y: NDArray[np.float64],
) -> Canonical:
    """Canonical pairs from the covariance of X (`own`), that of X with Y (`cross`), and both whitened."""
    left, correlations, right = np.linalg.svd(white_x.T @ cross @ white_y, full_matrices=False)
    weights_x = white_x @ left
    # Morcos et al.: a pair counts as much as the columns of X lie along its variate.
    with_columns = own @ weights_x
    sizes = np.sqrt(np.einsum("dp,dp->p", weights_x, with_columns))
    along = np.abs(with_columns).sum(0) / np.maximum(sizes, _TINY)
    shares = along / along.sum() if along.sum() > 0 else np.full(len(along), 1 / max(len(along), 1))
    return Canonical(mean_x, mean_y, weights_x, white_y @ right.T, correlations, shares)


def projection_weighted_cca(
    x: ArrayLike, y: ArrayLike, components: int | None = None, shrinkage: float = 0.0
) -> float:
    """Projection-weighted CCA on all rows at once: biased upwards unless rows are many times the columns."""
    found = canonical(x, y, components, shrinkage)
    return float(np.clip(found.correlations, 0, 1) @ found.shares)


def held_out_cca(
    x: ArrayLike, targets: Sequence[NDArray], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """Projection-weighted CCA of one layer with each target, on held-out folds. `values` is (1, targets)."""
    x, ys = standardised(x), [np.asarray(target, dtype=np.float64) for target in targets]
    found = _found_without_each_fold(x, ys, folds)
    values, draws = [], []
    for number, y in enumerate(ys):
        rows, shares = _held_out_rows(x, y, folds, [one[number] for one in found])
        values.append(np.nan_to_num(pearson_of(rows.sum(0))) @ shares)
        draws.append(np.nan_to_num(pearson_of(resampling.draws(rows))) @ shares)
    return Relevance(np.array([values]), np.stack(draws, axis=1)[:, None])


def cca_by_layer(
    features: ArrayLike, targets: Sequence[NDArray], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """`held_out_cca` for each layer of features (N, L, F)."""
    return _by_layer(features, lambda x: held_out_cca(x, targets, folds, resampling))


def cka_by_layer(
    features: ArrayLike, targets: Sequence[NDArray], groups: NDArray[np.int64], resamples: int = HALVES
) -> Relevance:
    """Debiased CKA of each layer of features (N, L, F) with each target, on halves of the groups."""
    count = int(groups.max()) + 1
    halves = _halves(count, resamples)
    ys = [
        standardised(np.asarray(target, dtype=np.float64), "what layers are compared with")
        for target in targets
    ]
    own = [_hsic(y, y, groups, halves) for y in ys]

    def of_layer(x: NDArray) -> Relevance:
        x = standardised(x)
        layer = _hsic(x, x, groups, halves)
        cka = np.stack(
            [_cka(_hsic(x, y, groups, halves), layer, one) for y, one in zip(ys, own, strict=True)], axis=1
        )
        return Relevance(cka[:1], cka[1:, None])

    return _by_layer(features, of_layer)


def debiased_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Debiased linear CKA of X and Y on all rows."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    groups, everything = np.zeros(len(x), dtype=np.int64), np.ones((1, 1))
    x, y = x - x.mean(0), y - y.mean(0)
    parts = [_hsic(a, b, groups, everything) for a, b in ((x, y), (x, x), (y, y))]
    return float(_cka(*parts)[0])


def speaker_groups(resampling: Resampling, count: int = GROUPS) -> NDArray[np.int64]:
    """A group for each utterance: whole speakers, groups of similar size."""
    sizes = np.bincount(resampling.cluster, minlength=resampling.clusters)
    filled, group_of = (
        np.zeros(min(count, resampling.clusters)),
        np.zeros(resampling.clusters, dtype=np.int64),
    )
    for speaker in np.argsort(-sizes, kind="stable"):
        group_of[speaker] = filled.argmin()
        filled[group_of[speaker]] += sizes[speaker]
    return group_of[resampling.cluster]


def _by_layer(features: ArrayLike, measure: Callable[[NDArray], Relevance]) -> Relevance:
    found = [measure(features[:, layer]) for layer in range(features.shape[1])]
    return Relevance(
        np.concatenate([one.values for one in found]), np.concatenate([one.draws for one in found], axis=1)
    )


def _found_without_each_fold(
    x: NDArray, ys: list[NDArray[np.float64]], folds: NDArray[np.int64]
) -> list[list[Canonical]]:
    """For each fold, the canonical pairs of X with each Y on the other folds; X is whitened once for all."""
    every = np.concatenate(ys, axis=1)
    sums = fold_sums(x, every, folds)
    starts = np.cumsum([0] + [y.shape[1] for y in ys])
    found = []
    for fold in range(len(sums.rows)):
        n, sum_x, sum_y, xx, xy, _ = sums.without(fold)
        mean_x, mean_y = sum_x / n, sum_y / n
        own, cross = xx / n - np.outer(mean_x, mean_x), xy / n - np.outer(mean_x, mean_y)
        limit = _components(int(n))
        white_x = _whitening(own, limit, SHRINKAGE)
        pairs = []
        for y, start, stop in zip(ys, starts, starts[1:], strict=False):
            train = y[folds != fold]
            white_y = _whitening(np.atleast_2d(np.cov(train.T, bias=True)), limit, SHRINKAGE)
            pairs.append(_pairs(mean_x, train.mean(0), own, cross[:, start:stop], white_x, white_y))
        found.append(pairs)
    return found


def _held_out_rows(
    x: NDArray, y: NDArray[np.float64], folds: NDArray[np.int64], found: list[Canonical]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each utterance adds to the moments of each canonical pair, and the mean share of each pair."""
    pairs = min(len(one.shares) for one in found)
    rows = np.zeros((len(x), pairs, 6))
    for fold, one in enumerate(found):
        held = np.flatnonzero(folds == fold)
        u = (x[held] - one.mean_x) @ one.weights_x[:, :pairs]
        v = (y[held] - one.mean_y) @ one.weights_y[:, :pairs]
        rows[held] = np.stack([moment_rows(u[:, k], v[:, k]) for k in range(pairs)], axis=1)
    shares = np.mean([one.shares[:pairs] for one in found], axis=0)
    return rows, shares / shares.sum()


def _components(rows: int) -> int:
    return max(1, min(COMPONENTS, rows // ROWS_PER_COMPONENT))


def _whitening(covariance: NDArray[np.float64], limit: int, shrinkage: float) -> NDArray[np.float64]:
    """Directions (D, components) along which the principal components of X have variance 1."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:limit], vectors[:, ::-1][:, :limit]
    kept = values > max(values[0], 0) * 1e-10
    if not kept.any():
        raise ValueError("nothing varies: correlations with it are undefined")
    return vectors[:, kept] / np.sqrt(values[kept] + shrinkage * values[kept].mean())


def _halves(groups: int, resamples: int) -> NDArray[np.float64]:
    """All groups in the first row, then random halves of them. (1 + resamples, groups)."""
    generator = np.random.default_rng(0)
    order = generator.random((resamples, groups)).argsort(1)
    return np.concatenate([np.ones((1, groups)), (order < groups // 2).astype(np.float64)])


def _hsic(
    x: NDArray, y: NDArray, groups: NDArray[np.int64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Unbiased HSIC of X and Y for each row of `draws`, which says which groups are in.

    With K = XX' and M = YY' without their diagonals, x_i and y_i rows, s the sums of rows:
    tr KM = |X'Y|^2 - sum |x_i|^2 |y_i|^2,   1'K1 = |s_x|^2 - sum |x_i|^2,
    1'KM1 = sum (x_i s_x - |x_i|^2) (y_i s_y - |y_i|^2).
    """
    sums = _GroupSums.of(x, y, groups, draws.shape[1])
    n = draws @ sums.rows
    s_x, s_y = draws @ sums.x, draws @ sums.y
    trace = np.einsum("rg,gh,rh->r", draws, sums.products, draws, optimize=True) - draws @ sums.both_norms
    k_sum = np.square(s_x).sum(1) - draws @ sums.norms_x
    m_sum = np.square(s_y).sum(1) - draws @ sums.norms_y
    # x_i s_x y_i s_y summed over rows is s_x' (X'Y) s_y, group by group.
    crossed = np.stack([np.einsum("rd,rd->r", s_x @ xy, s_y) for xy in sums.xy], axis=1)
    both = (draws * crossed).sum(1) + draws @ sums.both_norms
    both -= np.einsum("rd,rd->r", s_x, draws @ sums.x_norm_y) + np.einsum(
        "rd,rd->r", s_y, draws @ sums.y_norm_x
    )
    return (trace + k_sum * m_sum / ((n - 1) * (n - 2)) - 2 * both / (n - 2)) / (n * (n - 3))


def _cka(both: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray:
    scale = np.clip(first, 0, None) * np.clip(second, 0, None)
    is_defined = scale > 0
    return np.where(is_defined, both / np.sqrt(np.where(is_defined, scale, 1)), np.nan)


@dataclass(frozen=True)
class _GroupSums:
    """Sums over the rows of each of G groups."""

    rows: NDArray[np.float64]  # (G,)
    x: NDArray[np.float64]  # (G, D)
    y: NDArray[np.float64]  # (G, E)
    xy: NDArray[np.float64]  # (G, D, E)
    products: NDArray[np.float64]  # (G, G) sums of the products of the entries of two groups' X'Y
    norms_x: NDArray[np.float64]  # (G,) squared
    norms_y: NDArray[np.float64]
    both_norms: NDArray[np.float64]
    x_norm_y: NDArray[np.float64]  # (G, D) rows of X times |y_i|^2
    y_norm_x: NDArray[np.float64]  # (G, E)

    @classmethod
    def of(cls, x: NDArray, y: NDArray, groups: NDArray[np.int64], count: int) -> "_GroupSums":
        sizes = [
            (x.shape[1],),
            (y.shape[1],),
            (x.shape[1], y.shape[1]),
            (),
            (),
            (),
            (x.shape[1],),
            (y.shape[1],),
        ]
        sums = [np.zeros((count, *size)) for size in sizes]
        for group in range(count):
            for rows in _rows_of(groups, group):
                for total, part in zip(sums, _products(x[rows], y[rows]), strict=True):
                    total[group] += part
        flat = sums[2].reshape(count, -1)
        counts = np.bincount(groups, minlength=count).astype(np.float64)
        return cls(counts, sums[0], sums[1], sums[2], flat @ flat.T, *sums[3:])


def _rows_of(groups: NDArray[np.int64], group: int) -> Iterator[NDArray[np.int64]]:
    rows = np.flatnonzero(groups == group)
    yield from (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _products(x: NDArray, y: NDArray) -> tuple[NDArray[np.float64], ...]:
    x, y = x.astype(np.float64), y.astype(np.float64)
    norm_x, norm_y = np.square(x).sum(1), np.square(y).sum(1)
    return (
        x.sum(0), y.sum(0), x.T @ y, norm_x.sum(), norm_y.sum(), norm_x @ norm_y, norm_y @ x, norm_x @ y,
    )  # fmt: skip
