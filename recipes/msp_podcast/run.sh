#!/usr/bin/env bash
# MSP-Podcast from its folder to the table of the README: ours against the large model, with ablations.
# ASR=base (or another Whisper model) transcribes; without it the transcripts of the corpus are used (1.10 and later).
# ENCODERS are those whose layers are measured, on the sets of SPLITS; an empty SPLITS means all.
NAME=msp_podcast
STAGES=(prepare transcribe train evaluate layers table)
CONFIGS=(audio_text audio_text_minilm audio text concat whisper_audio hubert_large)
VARIANTS=(0)
ENCODERS=${ENCODERS:-ntu-spml/distilhubert facebook/hubert-large-ll60k}
SPLITS=${SPLITS-development test1}

stage_prepare() { prepare_corpus msp-podcast ${PREPARE_OPTIONS:-}; }

stage_transcribe() {
    [ -n "${ASR:-}" ] || return 0
    multimodal-ser transcribe "$WORK/manifest/manifest.jsonl" -o "$WORK/manifest/transcribed.jsonl" --model "$ASR" \
        ${JOBS:+--jobs "$JOBS"}
}

chosen_manifest() { [ -z "${ASR:-}" ] || MANIFEST=$WORK/manifest/transcribed.jsonl; }

stage_train() { chosen_manifest && train_seeds; }

stage_evaluate() { chosen_manifest && evaluate_seeds; }

stage_layers() {
    chosen_manifest
    local encoder folder
    for encoder in $ENCODERS; do
        folder=$WORK/layers/$(basename "$encoder")
        [ ! -e "$folder/report.html" ] || continue
        multimodal-ser layers "$MANIFEST" --encoder "$encoder" -o "$folder" ${SPLITS:+--split $SPLITS} ${LAYER_OPTIONS:-}
    done
}

stage_table() { compare_runs --reference hubert_large; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
