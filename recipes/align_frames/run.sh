#!/usr/bin/env bash
# EmoDB: frame-level alignment in five steps (1a tapt, 1b teach, 2a and 2b labels, 2c align, 3 finetune), against none.
NAME=align_frames
STAGES=(prepare start tapt teach labels align finetune evaluate table)
CONFIGS=(align start)
VARIANTS=(0 1 2)
LAYER=${LAYER:-2}        # whose frames are clustered; published: 9
GENERIC=${GENERIC:-100}  # clusters of tapt; published: 500
EMOTIONAL=${EMOTIONAL:-50}

# cluster_into FOLDER ENCODER CLUSTERS SEED FOLD: clusters of the training speakers' frames as frame labels.
cluster_into() {
    [ -f "$1/manifest.jsonl" ] || multimodal-ser pseudo_labels "$MANIFEST" --encoder "$2" -o "$1" \
        --layer "$LAYER" --clusters "$3" --seed "$4" --fold "$5"
}

# learn_labels CONFIG FOLDER LABELS VARIANT SEED FOLD: masked prediction, from the start of this variant.
learn_labels() {
    train_into "$2" "$1" --set "training.seed=$5" --set "data.fold=$6" \
        --set "model.audio.encoder=$WORK/encoders/start/$4" --set "data.manifest=$3/manifest.jsonl"
}

start_one() {
    train_into "$WORK/encoders/start/$1" start --set "training.seed=$2" --set "data.fold=$3"
}

tapt_one() {
    cluster_into "$WORK/labels/tapt/$1" "$WORK/encoders/start/$1" "$GENERIC" "$2" "$3"
    learn_labels tapt "$WORK/tapt/$1" "$WORK/labels/tapt/$1" "$@"
}

teach_one() {
    train_into "$WORK/taught/$1" teach --set "training.seed=$2" --set "data.fold=$3" \
        --set "model.audio.encoder=$WORK/tapt/$1"
}

labels_one() { cluster_into "$WORK/labels/align/$1" "$WORK/taught/$1" "$EMOTIONAL" "$2" "$3"; }

align_one() { learn_labels align "$WORK/encoders/align/$1" "$WORK/labels/align/$1" "$@"; }

stage_prepare() { prepare_corpus emodb --proxy-dimensions ${PREPARE_OPTIONS:-}; }

stage_start() { each_fold start_one; }

stage_tapt() { each_fold tapt_one; }

stage_teach() { each_fold teach_one; }

stage_labels() { each_fold labels_one; }

stage_align() { each_fold align_one; }

stage_finetune() { finetune_encoders; }

stage_evaluate() { evaluate_encoders; }

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
