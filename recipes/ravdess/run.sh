#!/usr/bin/env bash
# RAVDESS: eight acted classes, four actors tested at a time; dimensions are proxies of the class names.
NAME=ravdess
STAGES=(prepare train evaluate table)
CONFIGS=(audio)
VARIANTS=(1 2 3 4 5 6)
VARIANT_MEANING=folds

stage_prepare() { prepare_corpus ravdess --proxy-dimensions ${PREPARE_OPTIONS:-}; }

stage_train() { train_folds; }

stage_evaluate() { evaluate_folds; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
