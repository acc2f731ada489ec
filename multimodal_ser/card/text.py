"""What a card says: Markdown under a YAML head, as model hubs read it."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from multimodal_ser.card.facts import is_test
from multimodal_ser.labels import DIMENSIONS

_MEASURES = {"ccc": "CCC", "pearson": "Pearson", "rmse": "RMSE"}
_USE = """## Use

```
multimodal-ser score EPISODE.mp3 --transcript EPISODE.vtt --model FOLDER -o OUT
```

```python
from multimodal_ser.models.ser import SerModel

model = SerModel.from_pretrained("FOLDER or owner/name")
```

Values are in unit scale, 0 to 1, in the order arousal, valence, dominance, and are not clipped."""
_ENCODER_USE = """## Use

Name the folder as `model.audio.encoder` of an experiment, or give it to `multimodal-ser layers --encoder`."""
_STRENGTH_USE = """## Use

Name the folder as `reconstruction.strength_model`, with `reconstruction.intensity: strength`."""
_LIMITS = (
    "Labels are what others perceived, acted or inferred, as stated above, not what a speaker felt. A "
    "score is an estimate of such a label.",
    "Figures hold for the corpus, language and recording conditions they were measured on. On other speech, "
    "measure first: `multimodal-ser evaluate`.",
    "A figure of a subgroup rests on few speakers; where labels spread less, CCC is lower at the same error.",
    "Not for decisions about single people, such as hiring, schooling, insurance, health or law enforcement.",
)
_WORDS = (
    "Words are read as they are transcribed. Errors of speech recognition and transcripts of something else "
    "move the scores, valence most."
)
_VOCABULARY = (
    "The tokenizer's vocabulary was made from the training transcripts: single words and pieces of them "
    "are in it."
)


def card_text(facts: Mapping[str, Any]) -> str:
    """The whole card."""
    parts = [_title(facts), _data(facts), _training(facts), _metrics(facts), _limits(facts), _licence(facts)]
    use = (_STRENGTH_USE if _is_strength(facts) else _ENCODER_USE) if _is_encoder(facts) else _USE
    return "\n\n".join([_head(facts), parts[0], use, *filter(None, parts[1:])]) + "\n"


def _head(facts: Mapping[str, Any]) -> str:
    author, encoders = facts["author"], facts["model"]["encoders"]
    head: dict[str, Any] = {"license": author["licence"] or "other"}
    if author["licence"] is None:
        head["license_name"] = "not-chosen"
    if author["languages"]:
        head["language"] = list(author["languages"])
    head["library_name"] = "multimodal_ser"
    head["pipeline_tag"] = "audio-classification" if "audio" in encoders else "text-classification"
    head["tags"] = ["speech-emotion-recognition", *(() if _is_encoder(facts) else DIMENSIONS), *encoders]
    if bases := sorted({name for name in encoders.values() if "/" in name}):
        head["base_model"] = bases
    if not _is_encoder(facts):
        head["metrics"] = ["ccc", "pearsonr", "rmse"]
    if results := [result for one in facts["evaluations"] if is_test(one) for result in _results(one)]:
        head["model-index"] = [{"name": _name(facts), "results": results}]
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---"


def _results(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Test sets as the hub's tables take them: the fullest reading's values."""
    stated = evaluation["protocol"]
    found = next(iter(evaluation["readings"].values()))
    metrics = [
        {
            "type": measure,
            "name": f"{label} {dimension}",
            "value": round(found[dimension][measure]["value"], 4),
        }
        for dimension in DIMENSIONS
        for measure, label in _MEASURES.items()
        if found[dimension].get(measure, {}).get("value") is not None
    ]
    if metrics:
        dataset = {"type": stated["corpus"], "name": _corpus(stated), "split": stated["set"]}
        task = {"type": "speech-emotion-recognition", "name": "Speech emotion recognition"}
        yield {"task": task, "dataset": dataset, "metrics": metrics}


def _title(facts: Mapping[str, Any]) -> str:
    model, notes = facts["model"], facts["author"]["notes"].strip()
    encoders = " and ".join(f"{_plain(name)} ({branch})" for branch, name in model["encoders"].items())
    if _is_strength(facts):
        what = "How strong the emotion of each frame is, from 0 to 1, begun from random weights."
    elif _is_encoder(facts):
        what = f"An audio encoder, trained by `{facts['training']['objective']}`, beginning from {encoders}."
    else:
        joined = f", joined by `{model['fusion']}`" if len(model["encoders"]) > 1 else ""
        classes = f", and the classes {', '.join(model['classes'])}" if model["classes"] else ""
        what = f"Arousal, valence and dominance of an utterance{classes}, from {encoders}{joined}."
    size = f"{model['total']:,} parameters, of which {model['trainable']:,} were trained."
    return "\n\n".join(filter(None, [f"# {_name(facts)}", notes, f"{what} {size}"]))


def _data(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    rows = [
        (
            name,
            f"{part['utterances']:,}",
            _number(part["hours"], 2),
            f"{part['speakers']:,}"
            + (f" and {part['without_speaker']:,} utterances without" * bool(part["without_speaker"])),
            _counts(part["corpora"]),
            _counts(part["transcripts"]),
            _counts(part["labels"]),
        )
        for name, part in data["parts"].items()
    ]
    columns = ("used for", "utterances", "hours", "speakers", "corpora", "transcripts", "labels")
    licence = _plain(data["licence"] or "not stated in the manifest")
    fold = facts["training"]["fold"]
    folds = "" if fold is None else f" Fold {fold} of a cross-validation was left out, for the test."
    return f"## Data\n\n{_corpus(data)}; licence: {licence}.{folds}\n\n{_table(columns, rows)}"


def _training(facts: Mapping[str, Any]) -> str:
    training, chosen = facts["training"], facts["selection"]
    settings = {
        name: value for name, value in training.items() if name not in ("augmentation", "transcripts")
    }
    lines = [f"- {name.replace('_', ' ')}: {_plain(_value(value))}" for name, value in settings.items()]
    if _is_encoder(facts) and "development" not in facts["data"]["parts"]:
        how = "The weights with the least loss on the training data were kept"
    elif _is_encoder(facts):
        how = "The weights with the best score on development data were kept"
    else:
        how = "The weights with the best mean CCC, or accuracy of classes, on development data were kept"
    lines.append(f"- frozen: {_plain(_value(facts['model']['frozen']))}")
    lines.append(f"- changes to the sound: {_plain(_value(training['augmentation']))}")
    lines.append(f"- errors put into transcripts: {_plain(_value(training['transcripts']))}")
    code = f"multimodal_ser {facts['multimodal_ser']}" + (
        f", commit {facts['commit']}" * bool(facts["commit"])
    )
    score = f"{how}: score {_number(chosen['score'], 4)} at step {chosen['step']:,} of {chosen['steps']:,}"
    return f"## Training\n\n{score}, {chosen['epochs']} epochs; {code}.\n\n" + "\n".join(lines)


def _metrics(facts: Mapping[str, Any]) -> str:
    if _is_encoder(facts):
        return ""
    if not facts["evaluations"]:
        return "## Metrics\n\nNot measured on any set yet; `multimodal-ser evaluate` puts its figures here."
    return "\n\n".join(["## Metrics", *map(_evaluation, facts["evaluations"])])


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    stated = evaluation["protocol"]
    fold = "" if stated["fold"] is None else f", fold {stated['fold']}"
    said = (
        f"{stated['utterances']:,} utterances of {stated['speakers']:,} speakers; "
        f"selection: {_plain(stated['selection'])}; CCC: {_plain(stated['ccc'])}; "
        f"intervals: {_plain(stated['intervals'])}; scale {_plain(stated['scale'])}; "
        f"transcripts: {_counts(stated['transcripts'])}; labels: {_counts(stated['labels'])}."
    )
    rows = [
        (reading, _MEASURES[measure], *(_interval(found[d].get(measure)) for d in DIMENSIONS))
        for reading, found in evaluation["readings"].items()
        for measure in _MEASURES
        if any(measure in found[d] for d in DIMENSIONS)
    ]
    texts = [f"### {_corpus(stated)}, {_plain(stated['set'])}{fold}", said]
    texts.append(_table(("reading", "", *DIMENSIONS), rows) if rows else "No labels of the dimensions.")
    texts += _further(evaluation)
    groups = [
        (
            f"{kind}: {_plain(value)}",
            f"{found['utterances']:,}",
            *(_interval(found[d].get("ccc")) for d in DIMENSIONS),
        )
        for kind, values in evaluation.get("subgroups", {}).items()
        for value, found in values.items()
    ]
    if groups:
        texts.append("CCC by subgroup:\n\n" + _table(("subgroup", "utterances", *DIMENSIONS), groups))
    return "\n\n".join(texts)


def _further(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """Coverage, classes and other transcripts, one paragraph each."""
    if intervals := evaluation.get("intervals"):
        covered = ", ".join(f"{d} {_interval(found)}" for d, found in intervals["covered"].items() if found)
        yield f"Intervals of single scores promise {intervals['promised']:.0%} and cover: {covered}."
    if (classes := evaluation.get("classes")) and classes["utterances"]:
        named = ("weighted_accuracy", "unweighted_accuracy", "weighted_f1")
        figures = ", ".join(f"{name.replace('_', ' ')} {_interval(classes[name])}" for name in named)
        yield f"{len(classes['classes'])} classes, {classes['utterances']:,} utterances: {figures}."
    if others := evaluation["other_transcripts"]:
        figures = ", ".join(f"{_plain(kind)} {_interval(found)}" for kind, found in others.items())
        yield f"Mean CCC of the fullest reading with other transcripts: {figures}."


def _limits(facts: Mapping[str, Any]) -> str:
    encoders = facts["model"]["encoders"]
    limits = [
        *_LIMITS,
        *([_WORDS] if "text" in encoders else []),
        *([_VOCABULARY] if encoders.get("text") == "small" else []),
    ]
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _licence(facts: Mapping[str, Any]) -> str:
    chosen = facts["author"]["licence"]
    own = (
        f"The weights are under {_plain(chosen)}."
        if chosen
        else "Nobody has chosen a licence for these weights (`card.licence` of an experiment does)."
    )
    data = _plain(facts["data"]["licence"] or "not stated")
    return (
        f"## Licence\n\n{own} The licence of the data ({data}) may restrict what may be done with them, "
        "and so may the licences of the encoders that training began from. The data themselves are no "
        "part of this folder."
    )


def _is_encoder(facts: Mapping[str, Any]) -> bool:
    return facts["model"]["fusion"] is None


def _is_strength(facts: Mapping[str, Any]) -> bool:
    return facts["training"]["objective"] == "strength"


def _name(facts: Mapping[str, Any]) -> str:
    kind = "strength network" if _is_strength(facts) else "audio encoder"
    kind = kind if _is_encoder(facts) else "speech emotion model"
    return _plain(facts["author"]["name"] or f"{facts['data']['corpus']} {kind}")


def _corpus(stated: Mapping[str, Any]) -> str:
    return _plain(" ".join(filter(None, (stated["corpus"], stated["version"]))))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_plain(name)} {count:,}" for name, count in counts.items())


def _value(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_value(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return "none" if value is None else str(value)


def _number(value: float | None, decimals: int = 3) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _interval(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    ends = [found[end] for end in ("low", "high")]
    return _number(found["value"]) + ("" if None in ends else " [{}, {}]".format(*map(_number, ends)))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text from elsewhere, that cannot become markup or leave its cell."""
    return html.escape(" ".join(str(text).split()), quote=False).replace("|", "\\|").replace("`", "'")
