"""The table of the study of pretraining: accuracies over seeds, and differences paired by speaker.

python recipes/pretraining_study/table.py MANIFEST RESULTS.jsonl
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from multimodal_ser import manifests, metrics

# What each condition is tested against; the order is that of the table.
AGAINST = {
    "mockingjay random": "mockingjay none", "mockingjay energy": "mockingjay random",
    "mockingjay learned": "mockingjay random", "mockingjay aligned": "mockingjay random",
    "npc plain": "npc none", "npc energy": "npc plain", "npc learned": "npc plain",
    "vesper random": "vesper none", "vesper emotion": "vesper random",
}  # fmt: skip


def recalls(utterances, said):
    """UA and WA over all folds of one seed, and the mean recall of each speaker."""
    classes = sorted({u.emotion for u in utterances.values()})
    truth = [utterances[name].emotion for name in said]
    table = metrics.confusion(list(said.values()), truth, classes)
    speakers = {}
    for speaker in sorted({utterances[name].speaker for name in said}):
        own = [name for name in said if utterances[name].speaker == speaker]
        present = sorted({utterances[name].emotion for name in own})
        hits = {c: [said[n] == c for n in own if utterances[n].emotion == c] for c in present}
        speakers[speaker] = float(np.mean([np.mean(hits[c]) for c in present]))
    return metrics.unweighted_accuracy(table), metrics.weighted_accuracy(table), speakers


def sign_flip(differences):
    """Two-sided p of a mean difference: the share of all sign patterns whose mean is as far from zero."""
    x = np.asarray(differences)
    signs = np.array(list(itertools.product((-1, 1), repeat=len(x))))
    return float((np.abs(signs @ x) >= abs(x.sum()) - 1e-12).mean())


def spread(values):
    """Mean and standard deviation over seeds."""
    deviation = f"{values.std(ddof=1):.1f}" if len(values) > 1 else "?"
    return f"{values.mean():.1f} ± {deviation}"


def table(utterances, rows):
    """UA and WA, mean and standard deviation over complete seeds, and differences paired by speaker."""
    found = {}
    for condition in dict.fromkeys(r["condition"] for r in rows):
        for seed in sorted({r["seed"] for r in rows}):
            said = {}
            for r in rows:
                if (r["condition"], r["seed"]) == (condition, seed):
                    said.update(zip(r["ids"], r["said"], strict=True))
            if len(said) == len(utterances):
                found.setdefault(condition, {})[seed] = recalls(utterances, said)
    names = ["pretraining", "seeds", "UA %", "WA %", "against", "UA difference by speaker", "p"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for condition, by_seed in found.items():
        ua, wa = (100 * np.array([values[i] for values in by_seed.values()]) for i in (0, 1))
        text = f"| {condition} | {len(by_seed)} | {spread(ua)} | {spread(wa)} |"
        other = AGAINST.get(condition)
        if other in found:
            seeds = sorted(by_seed.keys() & found[other].keys())
            change = np.mean(
                [[by_seed[s][2][k] - found[other][s][2][k] for k in by_seed[s][2]] for s in seeds], axis=0
            )
            text += f" {other} | {100 * change.mean():+.1f} | {sign_flip(change):.3f} |"
        else:
            text += " | | |"
        lines.append(text)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest")
    parser.add_argument("results")
    arguments = parser.parse_args()
    utterances = {u.id: u for u in manifests.read(arguments.manifest).utterances}
    lines = Path(arguments.results).read_text(encoding="utf-8").splitlines()
    print(table(utterances, [json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()
