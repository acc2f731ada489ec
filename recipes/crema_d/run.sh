#!/usr/bin/env bash
# CREMA-D: six acted classes, our split of 56/18/17 actors; dimensions are proxies of the class names.
NAME=crema_d
STAGES=(prepare train evaluate table)
CONFIGS=(audio)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus crema-d --proxy-dimensions ${PREPARE_OPTIONS:-}; }

stage_train() { train_seeds; }

stage_evaluate() { evaluate_seeds --split test; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
