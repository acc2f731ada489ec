#!/usr/bin/env bash
# EmoDB: pretraining with intensity against pretraining without, and against none.
NAME=pretrain_mockingjay
STAGES=(prepare pretrain finetune evaluate table)
CONFIGS=(small small_random small_none)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

stage_pretrain() { pretrain_encoders; }

stage_finetune() { finetune_encoders; }

stage_evaluate() { evaluate_encoders; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
