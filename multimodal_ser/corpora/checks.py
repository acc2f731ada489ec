"""What is checked in a reading: ids, audio, transcripts, and the counts against the published ones.

Each check drops what cannot be used and flags what is odd; see `reading.py` for the two.
"""

from collections import Counter
from pathlib import Path

from multimodal_ser.corpora import audio_files, summaries
from multimodal_ser.corpora.audio_files import AudioFacts
from multimodal_ser.corpora.reading import Reading
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, is_safe_path

SHORTEST, LONGEST = 0.1, 60.0  # seconds; utterances outside are flagged
ROUNDING = 0.05  # seconds by which an annotated end may pass the end of its audio

# Of each split or fold, and of all: how many are kept, how many dropped, how many published.
Counts = dict[str, dict[str, int | None]]


def drop_repeated_ids(reading: Reading) -> None:
    seen: set[str] = set()
    kept = []
    for utterance in reading.utterances:
        if utterance.id in seen:
            reading.drop(utterance.id, "id occurs twice, the first is kept", split=utterance.split)
            continue
        seen.add(utterance.id)
        kept.append(utterance)
    reading.utterances = kept


def check_audio(
    reading: Reading, root: Path, jobs: int, verify: bool, keep_missing: bool, results: Path
) -> dict[str, AudioFacts]:
    """Drop utterances whose audio cannot be used, flag odd ones, and return what was found."""
    _drop_unsafe_paths(reading)
    names = {u.audio for u in reading.utterances if u.audio is not None}
    facts = audio_files.examine(root, names, verify=verify, jobs=jobs, results=results if verify else None)
    _check_any_usable(root, facts, keep_missing)
    kept = []
    for utterance in reading.utterances:
        item = facts[utterance.audio] if utterance.audio is not None else None
        if item is None or item.problem is None:
            _flag_odd_audio(reading, utterance, item)
            kept.append(utterance)
        elif keep_missing and item.problem == audio_files.MISSING:
            reading.flag(utterance.id, item.problem, item.detail)
            kept.append(utterance)
        else:
            reading.drop(utterance.id, item.problem, item.detail, split=utterance.split)
    reading.utterances = kept
    return facts


def _check_any_usable(root: Path, facts: dict[str, AudioFacts], keep_missing: bool) -> None:
    """Raise if there is audio and none of it can be used: a manifest of nothing helps nobody."""
    problems = Counter(item.problem for item in facts.values())
    if not facts or problems[None] or (keep_missing and problems[audio_files.MISSING]):
        return
    problem, count = problems.most_common(1)[0]
    example = next(item for item in facts.values() if item.problem == problem)
    if problem == audio_files.MISSING:
        raise InputError(
            f"{count} of {len(facts)} audio files that the labels name are not there, for example "
            f"{root / example.audio}, and no other can be used. Is the archive with the audio unpacked, and "
            "is this the corpus' top folder? To prepare without audio, for text or for another machine, add "
            "--keep-missing-audio"
        )
    raise InputError(
        f"none of the {len(facts)} audio files below {root} can be used; {problem}: {count}, "
        f"for example {example.detail}"
    )


def _drop_unsafe_paths(reading: Reading) -> None:
    unsafe = [u for u in reading.utterances if u.audio is not None and not is_safe_path(u.audio)]
    for utterance in unsafe:
        reading.drop(
            utterance.id, "audio path leaves the corpus folder", utterance.audio, split=utterance.split
        )
    if unsafe:
        ids = {utterance.id for utterance in unsafe}
        reading.utterances = [u for u in reading.utterances if u.id not in ids]


def _flag_odd_audio(reading: Reading, utterance: Utterance, item: AudioFacts | None) -> None:
    if item is None or item.seconds is None:
        return
    if item.silent:
        reading.flag(utterance.id, "audio without sound", item.audio)
    if item.warning:
        reading.flag(utterance.id, "audio damaged, part of it left out", item.warning)
    if utterance.end is not None and utterance.end > item.seconds + ROUNDING:
        reading.flag(utterance.id, "ends after its audio", f"{utterance.end:g} s of {item.seconds:g} s")
    length = summaries.duration(utterance, {item.audio: item.seconds})
    if length < SHORTEST:
        reading.flag(utterance.id, f"shorter than {SHORTEST:g} s", f"{length:g} s")
    elif length > LONGEST:
        reading.flag(utterance.id, f"longer than {LONGEST:g} s", f"{length:g} s")


def flag_same_audio(reading: Reading, root: Path, facts: dict[str, AudioFacts]) -> bool:
    """Flag files with the same bytes and whole files that two utterances share; whether all were compared."""
    same, compared = audio_files.same_audio(root, facts)
    users: dict[str, Utterance] = {}
    for utterance in reading.utterances:
        if utterance.audio is None:
            continue
        whole = utterance.start is None and utterance.end is None
        file = same.get(utterance.audio, utterance.audio)
        if whole and (other := users.setdefault(file, utterance)) is not utterance:
            where = "" if other.split == utterance.split else ", in another split"
            reading.flag(utterance.id, f"same audio as another utterance{where}", other.id)
    return compared


def forget_flags_of_dropped(reading: Reading) -> None:
    """Doubts about an utterance that is left out anyway would only hide the others."""
    gone = {remark.id for remark in reading.dropped} - {utterance.id for utterance in reading.utterances}
    reading.flagged = [remark for remark in reading.flagged if remark.id not in gone]


def flag_missing_text(reading: Reading) -> None:
    """In a corpus with transcripts, flag the utterances that have none or an empty one."""
    if all(u.text is None for u in reading.utterances):
        return
    for utterance in reading.utterances:
        if utterance.text is None:
            reading.flag(utterance.id, "no transcript")
        elif not utterance.text.strip():
            reading.flag(utterance.id, "empty transcript")


def counts(reading: Reading) -> Counts:
    """Kept, dropped and published utterances of each split and fold, as the reader assigned them."""
    kept = Counter(u.split or summaries.NO_SPLIT for u in reading.utterances)
    kept.update(f"fold{u.fold}" for u in reading.utterances if u.fold is not None)
    dropped = Counter(remark.split for remark in reading.dropped if remark.split is not None)
    parts = sorted({*kept, *dropped, *reading.expected} - {summaries.TOTAL}, key=summaries.split_order)
    kept[summaries.TOTAL], dropped[summaries.TOTAL] = len(reading.utterances), len(reading.dropped)
    return {
        part: {"kept": kept[part], "dropped": dropped[part], "published": reading.expected.get(part)}
        for part in [*parts, summaries.TOTAL]
    }


def count_problems(counts: Counts) -> list[str]:
    """Where the counts cannot be the published ones, even if drops without a split are spread at will."""
    problems = []
    gaps = {}
    for part, count in counts.items():
        if count["published"] is None:
            continue
        gaps[part] = count["published"] - count["kept"] - count["dropped"]
        if count["kept"] > count["published"]:
            problems.append(f"{part}: {count['kept']} utterances, but {count['published']} are published")
    named = sum(count["dropped"] for part, count in counts.items() if part != summaries.TOTAL)
    spare = counts[summaries.TOTAL]["dropped"] - named
    lacking = {part: gap for part, gap in gaps.items() if gap > 0}
    unexplained = sum(gap for part, gap in lacking.items() if part != summaries.TOTAL) > spare
    for part, gap in lacking.items():
        if part == summaries.TOTAL or unexplained:
            count = counts[part]
            problems.append(f"{part}: {count['kept']} utterances and {gap} of {count['published']} not found")
    return problems
