#!/usr/bin/env bash
# The starter model that the package carries: teachers of words, a small reader of words, and one model of voice and words.
# --data is the folder with emobank/, emodb/, vader/ and longform/; WORDNET is the folder with WordNet's data.noun.
NAME=starter
STAGES=(prepare voices teach texts read join halve measure finish)
CONFIGS=(joined)
VARIANTS=(1 2 3 4 5)
VARIANT_MEANING=folds
TEACHERS=(sentences words)

stage_prepare() {
    [ -n "$CORPUS" ] || fail "--data PATH is needed to prepare"
    multimodal-ser prepare emobank "$CORPUS/emobank" -o "$WORK/emobank"
    multimodal-ser prepare emodb "$CORPUS/emodb" -o "$WORK/emodb" --proxy-dimensions
    multimodal-ser prepare synthetic "$WORK/synthetic_corpus" -o "$WORK/synthetic" --speakers 40 --utterances 5
}

stage_voices() {
    python "$HERE/voices.py" "$WORK/emodb/manifest.jsonl" "$WORK/synthetic/manifest.jsonl" -o "$WORK/voices"
    python "$HERE/pairs.py" "$WORK/voices" "$WORK/emobank/manifest.jsonl"
}

# One on EmoBank's sentences, one on VADER's words too.
stage_teach() {
    [ -n "$CORPUS" ] || fail "--data PATH is needed for the lexicon"
    python "$HERE/../emobank/lexicon.py" "$WORK/emobank/manifest.jsonl" "$CORPUS/vader/vader_lexicon.txt" -o "$WORK/words"
    train_into "$WORK/runs/teacher/sentences" teacher --set "data.manifest=$WORK/emobank/manifest.jsonl"
    train_into "$WORK/runs/teacher/words" teacher --set "data.manifest=$WORK/words/manifest.jsonl" --set training.epochs=4
}

stage_texts() {
    [ -n "$CORPUS" ] || fail "--data PATH is needed for the free text"
    local teachers=("${TEACHERS[@]/#/$WORK/runs/teacher/}")
    python "$HERE/texts.py" gather "$WORK/emobank/manifest.jsonl" "$CORPUS" "${WORDNET:-/usr/share/wordnet}" \
        -o "$WORK/texts"
    python "$HERE/texts.py" begin "$WORK/emobank/manifest.jsonl" "$WORK/texts" "${teachers[0]}"
    python "$HERE/texts.py" label "$WORK/emobank/manifest.jsonl" "$WORK/texts" "${teachers[@]}"
}

stage_read() {
    train_into "$WORK/runs/reader" reader --set "data.manifest=$WORK/texts/labelled.jsonl" \
        --set "model.text.encoder=$WORK/texts/beginning"
}

# One without the two speakers of each fold, which is measured, and one of all, which is shipped.
stage_join() {
    for part in "${VARIANTS[@]/#/fold}" all; do
        train_into "$WORK/runs/joined/$part" joined --set "data.manifest=$WORK/voices/pairs_$part.jsonl" \
            --set "joining.text_teacher=$WORK/runs/reader" --set "model.text.encoder=$WORK/runs/reader"
    done
}

stage_halve() {
    rm -f "$WORK/measured.json"
    python "$HERE/finish.py" "$WORK" "$WORK/runs/joined/all" "$WORK/starter"
}

stage_measure() { python "$HERE/measure.py" "$WORK" "$WORK/starter"; }

stage_finish() {
    python "$HERE/finish.py" "$WORK" "$WORK/runs/joined/all" "$WORK/starter"
    multimodal-ser evaluate "$WORK/starter" "$WORK/emobank/manifest.jsonl" --split test \
        --train-manifest "$WORK/emobank/manifest.jsonl" -o "$WORK/evaluation"
}

source "$(dirname "$0")/../stages.sh"
run_stages "${@/#--data/--corpus}"
