#!/usr/bin/env bash
# Which layers carry which dimension: a layer report for each encoder, and all of them side by side.
# READER, SPLITS and ENCODERS choose corpus, sets and encoders; TRUNCATE="2 4 6 12" also trains cut encoders.
NAME=layer_relevance
STAGES=(prepare layers compare)
CONFIGS=(truncated)
VARIANTS=(0)
READER=${READER:-msp-podcast}
# HuBERT-base and -large, WavLM, DistilHuBERT, and the encoder of Whisper.
ENCODERS=${ENCODERS:-facebook/hubert-base-ls960 facebook/hubert-large-ll60k microsoft/wavlm-base-plus
    ntu-spml/distilhubert openai/whisper-base}
# Not the training set: it is not needed to compare layers, and a fine-tuned encoder knows it.
[ -n "${SPLITS+set}" ] || { [ "$READER" = msp-podcast ] && SPLITS="development test1" || SPLITS=; }

stage_prepare() {
    [ "$READER" != synthetic ] || CORPUS=${CORPUS:-$WORK/corpus}
    prepare_corpus "$READER" ${PREPARE_OPTIONS:-}
}

stage_layers() {
    local encoder folder
    for encoder in $ENCODERS; do
        folder=$WORK/layers/$(basename "$encoder")
        [ ! -e "$folder/report.html" ] || continue
        multimodal-ser layers "$MANIFEST" --encoder "$encoder" -o "$folder" ${SPLITS:+--split $SPLITS} \
            ${TRUNCATE:+--finetune "$HERE/truncated.yaml" --finetune-layers $TRUNCATE} \
            ${FINETUNE_SPLIT:+--finetune-split "$FINETUNE_SPLIT"} ${LAYER_OPTIONS:-} ${SET[@]+"${SET[@]}"}
    done
}

stage_compare() {
    multimodal-ser layers compare "$WORK"/layers/*/results.json -o "$WORK/comparison"
}

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
