#!/usr/bin/env bash
# MSP-Podcast from its folder to the table of the README: ours against the large model, with ablations.
# ASR=base (or another Whisper model) transcribes; without it the transcripts of the corpus are used (1.10 and later).
NAME=msp_podcast
STAGES=(prepare transcribe train evaluate table)
CONFIGS=(audio_text audio_text_minilm audio text concat whisper_audio hubert_large)
VARIANTS=(0)

stage_prepare() { prepare_corpus msp-podcast ${PREPARE_OPTIONS:-}; }

stage_transcribe() {
    [ -n "${ASR:-}" ] || return 0
    multimodal-ser transcribe "$WORK/manifest/manifest.jsonl" -o "$WORK/manifest/transcribed.jsonl" --model "$ASR" \
        ${JOBS:+--jobs "$JOBS"}
}

chosen_manifest() { [ -z "${ASR:-}" ] || MANIFEST=$WORK/manifest/transcribed.jsonl; }

stage_train() { chosen_manifest && train_seeds; }

stage_evaluate() { chosen_manifest && evaluate_seeds; }

stage_table() { compare_runs --reference hubert_large; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
