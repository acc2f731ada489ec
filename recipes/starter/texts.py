"""Free English text, what the text teacher says of it, and the beginning of a small text encoder.

    python recipes/starter/texts.py gather EMOBANK_MANIFEST DATA WORDNET -o FOLDER
    python recipes/starter/texts.py label EMOBANK_MANIFEST FOLDER TEACHER [TEACHER ...]
    python recipes/starter/texts.py begin EMOBANK_MANIFEST FOLDER TEACHER

`gather`: example sentences and glosses of WordNet, VADER's tokens, public-domain verse, parts of EmoBank's
training sentences. `label`: what the teachers say, their mean; where somebody rated a text the mean of rating
and teachers, which are EmoBank's training sentences and the valence of VADER's tokens, its scale stretched to
fit the teachers'. `begin`: a small BERT whose pieces are the most frequent of the teacher's on this text, and
whose embeddings are the principal components of what the teacher makes of each piece alone.
"""

import argparse
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from multimodal_ser.cache import atomic_path
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Header, Manifest, read, write
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.models.text_checkpoints import untrained_network
from multimodal_ser.models.word_pieces import MARKERS, WordPieces
from multimodal_ser.utterances import Utterance

LICENCE = "EmoBank CC BY-SA 4.0; WordNet 3.0 licence; VADER MIT; verse public domain"
TEXT, LABELLED, BEGINNING = "free.jsonl", "labelled.jsonl", "beginning"
GLOSSES = ("adj", "adv", "verb")  # of nouns examples alone: their glosses mostly explain plants and places
PIECES, WIDTH, BLOCKS, HEADS = 12_000, 128, 2, 4
START_SPREAD = 0.05  # standard deviation of the first embeddings
PART = 2_000  # texts
OWN_RATING = 0.5  # weight of a rating against the teachers


def wordnet(folder: Path) -> Iterator[str]:
    """Examples (in quotes) and glosses of a WordNet 3 database."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" ") or "|" not in line:
                continue
            said = line.split("|", 1)[1]
            yield from re.findall(r'"([^"]+)"', said)
            if part in GLOSSES:
                yield re.split(r'; *"', said)[0]


def parts(sentence: str) -> Iterator[str]:
    """The clauses of a sentence."""
    clauses = [clause for clause in re.split(r"[,;:()–—]| - ", sentence) if len(clause.split()) >= 3]
    yield from clauses if len(clauses) > 1 else ()


def gather(emobank: Manifest, data: Path, wordnet_folder: Path, output: Path, limit: int | None) -> None:
    """Write what there is, each text once; none stands in the development or test split of EmoBank."""
    kept_away = {u.text.strip().lower() for u in emobank.utterances if u.split != "train"}
    verse = (
        (data / "longform" / "sonnets_librivox" / "sonnet_plain.txt").read_text(encoding="utf-8").splitlines()
    )
    lexicon = (data / "vader" / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    tokens = {line.split("\t")[0].strip(): float(line.split("\t")[1]) for line in lexicon if "\t" in line}
    clauses = [part for u in emobank.split("train").utterances for part in parts(u.text)]
    sources = {
        "wordnet": list(wordnet(wordnet_folder)),
        "vader": list(tokens),
        "verse": verse,
        "clauses": clauses,
    }
    seen, found = set(kept_away), []
    for source, texts in sources.items():
        texts = [text.strip() for text in texts if text.strip()]
        random.Random(0).shuffle(texts)
        for text in texts[:limit]:
            if text.lower() not in seen and len(text) < 400:
                seen.add(text.lower())
                rated = {"vader": tokens[text]} if source == "vader" else None
                found.append(
                    Utterance(
                        f"{source}_{len(found):06}",
                        source,
                        text=text,
                        text_source="reference",
                        split="train",
                        meta=rated,
                    )
                )
    print(Counter(u.corpus for u in found))
    write(output / TEXT, Header("free_text", licence=LICENCE), found)


def label(emobank: Manifest, output: Path, teachers: Sequence[Path]) -> None:
    """Write the manifest that the student learns from; EmoBank's development split keeps its ratings."""
    manifest = read(output / TEXT)
    utterances = [*emobank.split("train").utterances, *manifest.utterances]
    asked = replace(manifest, utterances=utterances)
    said = sum(taught(asked, output / "said", teacher) for teacher in teachers) / len(teachers)
    rated = pd.DataFrame({name: [getattr(u, name) for u in utterances] for name in DIMENSIONS}, dtype=float)
    tokens = pd.Series([(u.meta or {}).get("vader", math.nan) for u in utterances])
    known = tokens.notna()
    slope, offset = np.polyfit(tokens[known], said["valence"][known], 1)
    print(f"valence of a token = {offset:.3f} + {slope:.4f} x VADER's")
    rated.loc[known, "valence"] = offset + slope * tokens[known]
    mixed = (OWN_RATING * rated + (1 - OWN_RATING) * said).fillna(said).clip(0, 1)
    labelled = [
        replace(utterance, **row, ratings=None, label_source="teacher", meta=None)
        for utterance, row in zip(utterances, mixed.to_dict("records"), strict=True)
    ]
    chosen = [u for u in emobank.utterances if u.split in ("development", "test")]
    write(output / LABELLED, manifest.header, [*labelled, *chosen])


def taught(manifest: Manifest, folder: Path, teacher: Path) -> pd.DataFrame:
    """What a teacher says, in parts that are kept, so that a run that was stopped goes on."""
    predictor = Predictor.load(teacher, "cpu")
    folder.mkdir(exist_ok=True)
    said = []
    for start in range(0, len(manifest), PART):
        path = folder / f"{predictor.name}_{start:06}.csv"
        if not path.is_file():
            part = replace(manifest, utterances=manifest.utterances[start : start + PART])
            with atomic_path(path) as temporary:
                predictor.predict(predictor.examples(part)).to_csv(temporary, index=False)
        said.append(pd.read_csv(path))
    return pd.concat(said, ignore_index=True)[list(DIMENSIONS)]


def begin(emobank: Manifest, output: Path, teacher: Path) -> None:
    """Write a checkpoint folder with the small encoder's vocabulary and first weights."""
    encoder: TextEncoder = Predictor.load(teacher, "cpu").model.text
    texts = [u.text for u in (*emobank.utterances, *read(output / TEXT).utterances) if u.split == "train"]
    tokens = encoder.tokenize(texts)
    pieces = Counter(tokens.ids[tokens.mask].tolist())
    names = encoder.tokenizer.convert_ids_to_tokens(list(range(len(encoder.tokenizer))))
    letters = [name for name in names if re.fullmatch(r"(##)?[a-z0-9']", name)]
    frequent = [names[i] for i, _ in sorted(pieces.items(), key=lambda item: (-item[1], item[0]))]
    words = list(dict.fromkeys([*MARKERS, *letters, *frequent]))[:PIECES]
    numbers = encoder.tokenizer.get_vocab()
    ids = torch.tensor([numbers[word] for word in words])[:, None]
    with torch.inference_mode():
        chunks = [encoder(part, torch.ones_like(part, dtype=torch.bool)).pooled for part in ids.split(256)]
    states = torch.cat(chunks)
    states = states - states.mean(0)
    components = torch.pca_lowrank(states, WIDTH, center=False, niter=4)[2]
    start = states @ components
    settings = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "intermediate_size": 3 * WIDTH,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(0)
    small = TextEncoder(untrained_network(settings, "the small text encoder"), WordPieces(words))
    with torch.no_grad():
        small.model.embeddings.word_embeddings.weight.copy_(start / start.std() * START_SPREAD)
    small.save_pretrained(output / BEGINNING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    gathering, labelling, beginning = (verbs.add_parser(name) for name in ("gather", "label", "begin"))
    for verb in (gathering, labelling, beginning):
        verb.add_argument("emobank", type=Path, help="manifest of `prepare emobank`")
    gathering.add_argument("data", type=Path, help="folder with vader/ and longform/")
    gathering.add_argument("wordnet", type=Path, help="folder with WordNet's data.noun and so on")
    gathering.add_argument("-o", "--output", type=Path, required=True)
    gathering.add_argument("--limit", type=int, help="texts of one source at most; all if not given")
    for verb in (labelling, beginning):
        verb.add_argument("output", type=Path)
    labelling.add_argument("teachers", type=Path, nargs="+", help="run folders of text teachers")
    beginning.add_argument("teacher", type=Path, help="run folder of a text teacher")
    arguments = parser.parse_args()
    if arguments.verb == "gather":
        arguments.output.mkdir(parents=True, exist_ok=True)
        gather(read(arguments.emobank), arguments.data, arguments.wordnet, arguments.output, arguments.limit)
    elif arguments.verb == "label":
        label(read(arguments.emobank), arguments.output, arguments.teachers)
    else:
        begin(read(arguments.emobank), arguments.output, arguments.teacher)


if __name__ == "__main__":
    main()
