#!/usr/bin/env bash
# MELD: seven classes in television dialogue, the official split.
NAME=meld
STAGES=(prepare train evaluate table)
CONFIGS=(audio_text audio text)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus meld ${PREPARE_OPTIONS:-}; }

stage_train() { train_seeds; }

stage_evaluate() { evaluate_seeds --split test; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
