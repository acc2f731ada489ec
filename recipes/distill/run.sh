#!/usr/bin/env bash
# Task distillation at small size: a teacher from labels, a student from the teacher. --corpus is where it is made.
NAME=distill
STAGES=(prepare teach distill evaluate table)
CONFIGS=(small)
VARIANTS=(0 1 2)

stage_prepare() {
    CORPUS=${CORPUS:-$WORK/corpus}
    prepare_corpus "${READER:-synthetic}" ${PREPARE_OPTIONS:-}
}

stage_teach() {
    for seed in "${VARIANTS[@]}"; do train_one teacher "seed$seed" --set "training.seed=$seed"; done
}

stage_distill() {
    for config in "${CONFIGS[@]}"; do
        for seed in "${VARIANTS[@]}"; do
            train_one "$config" "seed$seed" --set "training.seed=$seed" \
                --set "task_distillation.teacher=$WORK/runs/teacher/seed$seed"
        done
    done
}

stage_evaluate() {
    CONFIGS=(teacher "${CONFIGS[@]}")
    evaluate_seeds
}

stage_table() { compare_runs; }

source "$(dirname "$0")/../stages.sh"
run_stages "$@"
