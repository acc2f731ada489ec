#!/usr/bin/env bash
# EmoDB: pretraining with intensity against pretraining without, and against none.
NAME=pretrain_npc
STAGES=(prepare strength pretrain finetune evaluate table)
CONFIGS=(small small_strength small_plain small_none)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

# strength_one VARIANT SEED FOLD: the strength network of this fold's training speakers.
strength_one() { train_into "$WORK/strength/$1" strength --set "training.seed=$2" --set "data.fold=$3"; }

add_options() {
    [ "$1" != small_strength ] || OPTIONS=(--set "reconstruction.strength_model=$WORK/strength/$2")
}

stage_strength() { [[ " ${CONFIGS[*]} " != *" small_strength "* ]] || each_fold strength_one; }

stage_pretrain() { pretrain_encoders; }

stage_finetune() { finetune_encoders; }

stage_evaluate() { evaluate_encoders; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
