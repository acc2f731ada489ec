#!/usr/bin/env bash
# EmoDB: Vesper against random masks and against none. TEACHER is a HuBERT-like checkpoint, name or folder.
NAME=pretrain_vesper
STAGES=(prepare pretrain finetune evaluate table)
CONFIGS=(small small_random small_none)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

add_options() { OPTIONS=(--set "vesper.teacher=${TEACHER:-microsoft/wavlm-base-plus}"); }

stage_pretrain() { pretrain_encoders; }

stage_finetune() { finetune_encoders; }

stage_evaluate() { evaluate_encoders; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
