#!/usr/bin/env bash
# The synthetic corpus: no download, no GPU; what is planted must be found. --corpus is where it is made.
NAME=synthetic
STAGES=(prepare train evaluate table word_errors)
CONFIGS=(audio_text audio text concat)
VARIANTS=(0 1 2)

stage_prepare() {
    CORPUS=${CORPUS:-$WORK/corpus}
    prepare_corpus synthetic ${PREPARE_OPTIONS:-}
}

stage_train() { train_seeds; }

stage_evaluate() { evaluate_seeds --transcripts empty shuffled; }

stage_table() { compare_runs; }

# With and without transcript errors in training; what `train` has done already is not done again.
stage_word_errors() {
    CONFIGS=(audio_text audio_text_corrupted)
    train_seeds
    python "$HERE/word_errors.py" "$WORK"
}

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
