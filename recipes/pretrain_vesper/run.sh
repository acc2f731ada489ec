#!/usr/bin/env bash
# EmoDB: Vesper against random masks and against none. The teacher is trained here, unless TEACHER names a HuBERT-like one.
NAME=pretrain_vesper
STAGES=(prepare teacher pretrain finetune evaluate table)
CONFIGS=(small small_random small_none)
VARIANTS=(0 1 2)

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

# teacher_one VARIANT SEED FOLD: a small HuBERT, from the audio of this fold's training speakers alone.
teacher_one() {
    local untrained=$WORK/untrained/seed$2 labels=$WORK/labels/seed$2-fold$3
    [ -f "$untrained/config.json" ] || python "$HERE/untrained.py" "$untrained" "$2"
    [ -f "$labels/manifest.jsonl" ] || multimodal-ser pseudo_labels "$MANIFEST" --encoder mfcc --layer 0 \
        --clusters 100 --seed "$2" --fold "$3" -o "$labels"
    train_into "$WORK/teachers/$1" teacher --set "training.seed=$2" --set "data.fold=$3" \
        --set "model.audio.encoder=$untrained" --set "data.manifest=$labels/manifest.jsonl"
}

stage_teacher() { [ -n "${TEACHER:-}" ] || each_fold teacher_one; }

add_options() { OPTIONS=(--set "vesper.teacher=${TEACHER:-$WORK/teachers/$2}"); }

stage_pretrain() { pretrain_encoders; }

stage_finetune() { finetune_encoders; }

stage_evaluate() { evaluate_encoders; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
