#!/usr/bin/env bash
# The starter model that the package carries: a voice expert for each fold, a reader of words, and one model of both.
# --data is the folder with emobank/, emodb/, vader/ and longform/; WORDNET is the folder with WordNet's data.noun.
NAME=starter
STAGES=(prepare voices hear teach texts read join halve measure finish)
CONFIGS=(joined)
VARIANTS=(1 2 3 4 5)
VARIANT_MEANING=folds
SCRIPTS=$(cd "$(dirname "$0")" && pwd)

stage_prepare() {
    [ -n "$CORPUS" ] || fail "--data PATH is needed to prepare"
    multimodal-ser prepare emobank "$CORPUS/emobank" -o "$WORK/emobank"
    multimodal-ser prepare emodb "$CORPUS/emodb" -o "$WORK/emodb" --proxy-dimensions
    multimodal-ser prepare synthetic "$WORK/synthetic_corpus" -o "$WORK/synthetic" --speakers 40 --utterances 5
}

stage_voices() {
    python "$SCRIPTS/voices.py" "$WORK/emodb/manifest.jsonl" "$WORK/synthetic/manifest.jsonl" -o "$WORK/voices"
}

stage_hear() {
    for fold in "${VARIANTS[@]}"; do
        train_into "$WORK/runs/audio/fold$fold" audio --set "data.manifest=$WORK/voices/fold$fold.jsonl"
    done
}

stage_teach() { train_into "$WORK/runs/teacher" teacher --set "data.manifest=$WORK/emobank/manifest.jsonl"; }

stage_texts() {
    [ -n "$CORPUS" ] || fail "--data PATH is needed for the free text"
    python "$SCRIPTS/texts.py" gather "$WORK/emobank/manifest.jsonl" "$CORPUS" "${WORDNET:-/usr/share/wordnet}" \
        -o "$WORK/texts"
    python "$SCRIPTS/texts.py" begin "$WORK/emobank/manifest.jsonl" "$WORK/texts" "$WORK/runs/teacher"
    [ -z "${DISTIL:-}" ] ||
        python "$SCRIPTS/texts.py" label "$WORK/emobank/manifest.jsonl" "$WORK/texts" "$WORK/runs/teacher"
}

stage_read() {
    local manifest=$WORK/emobank/manifest.jsonl
    [ -z "${DISTIL:-}" ] || manifest=$WORK/texts/labelled.jsonl
    train_into "$WORK/runs/text" text --set "data.manifest=$manifest" \
        --set "model.text.encoder=$WORK/texts/beginning"
}

stage_join() {
    python "$SCRIPTS/pairs.py" "$WORK"
    train_into "$WORK/runs/joined" joined --set "data.manifest=$WORK/voices/pairs.jsonl" \
        --set "joining.text_teacher=$WORK/runs/text" --set "model.text.encoder=$WORK/runs/text" \
        --set "model.audio.encoder=$WORK/runs/audio/fold1"
}

stage_halve() {
    rm -f "$WORK/measured.json"
    python "$SCRIPTS/finish.py" "$WORK" "$WORK/runs/joined" "$WORK/starter"
}

stage_measure() { python "$SCRIPTS/measure.py" "$WORK" "$WORK/starter"; }

stage_finish() { python "$SCRIPTS/finish.py" "$WORK" "$WORK/runs/joined" "$WORK/starter"; }

source "$(dirname "$0")/../stages.sh"
run_stages "${@/#--data/--corpus}"
