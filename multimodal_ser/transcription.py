"""`transcribe`: the words of every utterance of a manifest by speech recognition, in several processes.

A run that was killed goes on where it stopped and ends with the same manifest, byte for byte (see
`transcripts/hearing.py`). What ends up in the manifest:

    text, text_source        what was recognised and "asr:<engine>-<model>"; "" if it is not to be trusted
    transcripts              every transcript by source: this one, those there were, "reference" among them
    meta.asr_flags           why it is not trusted (`transcripts/trust.py`), [] if it is; ["failed"] if the
                             audio could not be read: then `text` is null, as nothing is known
    meta.asr_text            what was recognised, if it is not trusted
    meta.asr_logprob         mean log-probability per token
    meta.asr_no_speech       probability that nobody speaks, as the recogniser says
    meta.asr_language        as recognised or given
    meta.asr_speech          seconds of speech that the speech detector found

Beside it lie `<name>.transcribe.json`, with everything that the result depends on, and
`<name>.errors.csv` if utterances failed.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from multimodal_ser import manifests
from multimodal_ser.cache import write_json
from multimodal_ser.corpora.manifest_tools import rerooted
from multimodal_ser.csv_files import write_table
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.manifests import Manifest, Utterance
from multimodal_ser.transcripts.asr import SOURCE_PREFIX
from multimodal_ser.transcripts.cues import Cue
from multimodal_ser.transcripts.hearing import Hearing, MakeTranscriber, hear_all
from multimodal_ser.transcripts.listening import Cut, Passage, language_of
from multimodal_ser.transcripts.speech import SpeechOptions, speech_share
from multimodal_ser.transcripts.trust import Trust, TrustConfig, judge

REFERENCE = "reference"
SCHEMA_VERSION = 1
FAILED = "failed"


@dataclass(frozen=True)
class TranscribeOptions:
    """What becomes of what is recognised, and how speech is found."""

    detector: str = "auto"  # speech detector: auto, silero, energy, none
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    trust: TrustConfig = field(default_factory=TrustConfig)
    keep_reference: bool = False  # `text` stays the reference where there is one
    keep_untrusted: bool = False  # `text` is what was recognised even if it is not trusted


@dataclass(frozen=True)
class Outcome:
    """What is known about one utterance after it was heard."""

    text: str
    trust: Trust
    log_probability: float | None = None
    no_speech: float | None = None
    language: str | None = None
    speech: float = 0.0  # seconds

    @classmethod
    def of(cls, passages: Sequence[Passage], config: TrustConfig) -> "Outcome":
        cue = _merged(passages)
        spans = [span for passage in passages for span in passage.spans]
        language = language_of(passages)
        if not passages:  # nobody speaks
            return cls("", Trust(False, ("little_speech",)))
        share = speech_share(cue.start, cue.end, spans)
        verdict = judge(cue, speech_share=share, language=language, config=config)
        seconds = round(sum(span.end - span.start for span in spans), 3)
        return cls(cue.text, verdict, cue.avg_logprob, cue.no_speech_prob, language, seconds)


@dataclass(frozen=True)
class Transcription:
    """What `transcribe` did."""

    manifest: Path
    source: str
    utterances: int
    flags: dict[str, int]  # flag: utterances that have it
    untrusted: int
    without_audio: int
    errors: list[tuple[Utterance, str]]

    def screen(self) -> str:
        """A few lines for people."""
        heard = self.utterances - self.without_audio - len(self.errors)
        lines = [
            f"{self.manifest}: {heard} utterances transcribed as {self.source}, {self.untrusted} not trusted"
        ]
        lines += [f"  {count} {flag}" for flag, count in sorted(self.flags.items())]
        if self.without_audio:
            lines.append(f"  {self.without_audio} utterances have no audio and stay as they are")
        return "\n".join(lines)

    def raise_failures(self) -> None:
        """Raise `SomeFailed` if any utterance failed."""
        if self.errors:
            listed = _beside(self.manifest, "errors.csv")
            raise SomeFailed(f"{len(self.errors)} of {self.utterances} utterances; see {listed}")


def transcribe(
    manifest: Manifest,
    output: str | os.PathLike,
    make: MakeTranscriber,
    options: TranscribeOptions | None = None,
    *,
    jobs: int = 1,
    cache: Path | None = None,
) -> Transcription:
    """Write `manifest` to `output` with the words that the transcriber of `make(threads=...)` hears.

    cache: folder of results; None = results are not kept, and an interrupted run begins anew.
    """
    output, options = Path(output), options or TranscribeOptions()
    spoken = [u for u in manifest.utterances if u.audio is not None]
    _check(manifest, spoken)
    cuts = [Cut(manifest.audio_path(u), u.start, u.end) for u in spoken]
    about, results = hear_all(Hearing(make, options.detector, options.speech, cache), cuts, jobs)
    source = SOURCE_PREFIX + about["name"]
    filled, errors, counts = {}, [], Counter()
    for utterance, result in zip(spoken, results, strict=True):
        outcome = result if isinstance(result, str) else Outcome.of(result, options.trust)
        if isinstance(outcome, str):
            errors.append((utterance, outcome))
        else:
            counts.update([*outcome.trust.flags, "untrusted"] if not outcome.trust.trusted else [])
        filled[utterance.id] = _filled(utterance, outcome, source, options)
    written = rerooted(manifest, output.parent)
    manifests.write(output, written.header, [filled.get(u.id, u) for u in manifest.utterances])
    untrusted = counts.pop("untrusted", 0)
    total = len(manifest)
    done = Transcription(output, source, total, dict(counts), untrusted, total - len(spoken), errors)
    _write_beside(done, options, about)
    return done


def _check(manifest: Manifest, spoken: Sequence[Utterance]) -> None:
    if not spoken:
        raise InputError(
            f"no utterance of '{manifest.header.corpus}' has audio: there is nothing to transcribe"
        )
    named = {manifest.audio_path(u) for u in spoken}
    if len(manifests.missing_audio(manifest)) == len(named):
        manifests.check_audio(manifest)  # says what may have happened


def _merged(passages: Sequence[Passage]) -> Cue | None:
    """All that was heard as one cue; probabilities are means over the words' time."""
    if not passages:
        return None
    cues = [cue for passage in passages for cue in passage.cues]
    text = " ".join(cue.text for cue in cues)
    return Cue(
        passages[0].start,
        passages[-1].end,
        text,
        avg_logprob=_mean(cues, "avg_logprob"),
        no_speech_prob=_mean(cues, "no_speech_prob"),
    )


def _mean(cues: Sequence[Cue], name: str) -> float | None:
    said = [(getattr(cue, name), cue.end - cue.start) for cue in cues if getattr(cue, name) is not None]
    weight = sum(seconds for _, seconds in said)
    return round(sum(value * seconds for value, seconds in said) / weight, 4) if weight > 0 else None


def _filled(
    utterance: Utterance, outcome: Outcome | str, source: str, options: TranscribeOptions
) -> Utterance:
    """The utterance with its new text, or without any if `outcome` is what went wrong."""
    transcripts = dict(utterance.transcripts or {})
    if utterance.text is not None:
        transcripts.setdefault(utterance.text_source or REFERENCE, utterance.text)
    meta = {name: value for name, value in (utterance.meta or {}).items() if not name.startswith("asr_")}
    transcripts.pop(source, None)
    text, text_source = None, None
    if isinstance(outcome, str):
        meta["asr_flags"] = [FAILED]
    else:
        is_used = outcome.trust.trusted or options.keep_untrusted
        text, text_source = (outcome.text if is_used else ""), source
        transcripts[source] = text
        meta |= _facts(outcome, is_used)
    if options.keep_reference and (found := _reference(utterance, transcripts)) is not None:
        text, text_source = found
    return replace(utterance, text=text, text_source=text_source, transcripts=transcripts or None, meta=meta)


def _reference(utterance: Utterance, transcripts: dict[str, str]) -> tuple[str, str] | None:
    """The text that no machine made, and its source."""
    source = utterance.text_source or REFERENCE
    if utterance.text is not None and not source.startswith(SOURCE_PREFIX):
        return utterance.text, source
    return (transcripts[REFERENCE], REFERENCE) if REFERENCE in transcripts else None


def _facts(outcome: Outcome, is_used: bool) -> dict[str, Any]:
    facts = {
        "asr_flags": list(outcome.trust.flags),
        "asr_logprob": outcome.log_probability,
        "asr_no_speech": outcome.no_speech,
        "asr_language": outcome.language,
        "asr_speech": outcome.speech,
    }
    return facts if is_used else facts | {"asr_text": outcome.text}


def _beside(manifest: Path, suffix: str) -> Path:
    return manifest.with_name(f"{manifest.stem}.{suffix}")


def _write_beside(done: Transcription, options: TranscribeOptions, about: dict) -> None:
    write_json(
        _beside(done.manifest, "transcribe.json"),
        {
            "schema_version": SCHEMA_VERSION,
            "source": done.source,
            "asr": about,
            "speech": asdict(options.speech),
            "trust": asdict(options.trust),
            "keep_reference": options.keep_reference,
            "keep_untrusted": options.keep_untrusted,
            "utterances": done.utterances,
            "without_audio": done.without_audio,
            "failed": len(done.errors),
            "untrusted": done.untrusted,
            "flags": dict(sorted(done.flags.items())),
        },
    )
    errors = _beside(done.manifest, "errors.csv")
    if not done.errors:
        errors.unlink(missing_ok=True)  # of an earlier run
        return
    rows = [(u.id, u.audio, u.start, u.end, reason) for u, reason in done.errors]
    write_table(errors, ("id", "audio", "start", "end", "reason"), rows)
