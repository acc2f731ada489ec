#!/usr/bin/env bash
# EmoBank: valence, arousal and dominance of written sentences, by the words alone. Needs the extra [offline], or a hub.
NAME=emobank
STAGES=(prepare train evaluate table)
CONFIGS=(text)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus emobank ${PREPARE_OPTIONS:-}; }

stage_train() { train_seeds; }

# Development too: experiments are chosen by it, and the test split is looked at once.
stage_evaluate() { evaluate_seeds --split development test; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
