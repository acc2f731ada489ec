#!/usr/bin/env bash
# EmoDB: seven acted classes, two speakers tested at a time; dimensions are proxies of the class names.
NAME=emodb
STAGES=(prepare train evaluate table)
CONFIGS=(audio mel)
VARIANTS=(1 2 3 4 5)
VARIANT_MEANING=folds

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

stage_train() { train_folds; }

stage_evaluate() { evaluate_folds; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
