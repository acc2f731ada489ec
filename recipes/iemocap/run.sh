#!/usr/bin/env bash
# IEMOCAP: leave one session out, develop on the next; dimensions and the usual four classes.
NAME=iemocap
STAGES=(prepare train evaluate table)
CONFIGS=(audio_text audio text)
VARIANTS=(1 2 3 4 5)
VARIANT_MEANING=folds

stage_prepare() { prepare_corpus iemocap ${PREPARE_OPTIONS:-}; }

stage_train() { train_folds; }

stage_evaluate() { evaluate_folds; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
