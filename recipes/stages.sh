# What every run.sh shares: its options, its stages, and which of them are done. Sourced, not run.
#
# A recipe sets NAME, STAGES, CONFIGS and VARIANTS, defines a function stage_<name> per stage, and calls `run_stages "$@"`.
# A stage that has ended well is not run again, unless --stage names it; a training that was stopped goes on.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
CORPUS=
WORK=
FIRST_STAGE=
LAST_STAGE=
GPUS=1
JOBS=
SET=()

usage() {
    cat <<TEXT
usage: $0 --corpus PATH [options]

  --corpus PATH      the corpus, as it was unpacked
  --work DIR         where everything goes (default: runs/$NAME)
  --stage NAME       begin here, even if it is done; stages: ${STAGES[*]}
  --stop-stage NAME  end here
  --configs "A B"    experiments to run (default: ${CONFIGS[*]})
  --variants "0 1"   ${VARIANT_MEANING:-seeds} (default: ${VARIANTS[*]})
  --gpus N           processes to train with (default: 1)
  --jobs N           processes for preparing and transcribing
  --set KEY=VALUE    change one value of every experiment; may be repeated
TEXT
}

fail() {
    echo "error: $*" >&2
    exit 2
}

run_stages() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --help | -h) usage && exit 0 ;;
            --corpus | --work | --stage | --stop-stage | --configs | --variants | --gpus | --jobs | --set)
                [ $# -ge 2 ] || fail "$1 wants a value"
                ;;
            *) fail "unknown option $1; see $0 --help" ;;
        esac
        case "$1" in
            --corpus) CORPUS=$2 ;;
            --work) WORK=$2 ;;
            --stage) FIRST_STAGE=$2 ;;
            --stop-stage) LAST_STAGE=$2 ;;
            --configs) read -ra CONFIGS <<<"$2" ;;
            --variants) read -ra VARIANTS <<<"$2" ;;
            --gpus) GPUS=$2 ;;
            --jobs) JOBS=$2 ;;
            --set) SET+=(--set "$2") ;;
        esac
        shift 2
    done
    WORK=${WORK:-runs/$NAME}
    for stage in $FIRST_STAGE $LAST_STAGE; do
        [[ " ${STAGES[*]} " == *" $stage "* ]] || fail "no stage '$stage'; stages: ${STAGES[*]}"
    done
    for config in "${CONFIGS[@]}"; do
        [ -f "$HERE/$config.yaml" ] || fail "no experiment '$config': $HERE/$config.yaml is not there"
    done
    mkdir -p "$WORK/done"
    MANIFEST=$WORK/manifest/manifest.jsonl
    # The first stage prepares for all experiments and variants; the others are done for those that were asked for.
    local started=${FIRST_STAGE:+no} asked="${CONFIGS[*]}: ${VARIANTS[*]}" marker
    for stage in "${STAGES[@]}"; do
        marker=$WORK/done/$stage
        [ "$stage" = "$FIRST_STAGE" ] && started=yes && rm -f "$marker"
        [ "$started" = no ] && continue
        if [ -e "$marker" ] && { [ "$stage" = "${STAGES[0]}" ] || [ "$(<"$marker")" = "$asked" ]; }; then
            echo "== $NAME: $stage is done already (--stage $stage does it again)" >&2
        else
            echo "== $NAME: $stage" >&2
            "stage_$stage"
            echo "$asked" >"$marker"
        fi
        [ "$stage" = "$LAST_STAGE" ] && break
    done
    return 0
}

# prepare_corpus READER [options]: the corpus folder to $WORK/manifest.
prepare_corpus() {
    [ -n "$CORPUS" ] || fail "--corpus PATH is needed to prepare"
    multimodal-ser prepare "$1" "$CORPUS" -o "$WORK/manifest" ${JOBS:+--jobs "$JOBS"} "${@:2}"
}

# train_one CONFIG VARIANT [--set KEY=VALUE ...]: into $WORK/runs/CONFIG/VARIANT.
train_one() { train_into "$WORK/runs/$1/$2" "$1" "${@:3}"; }

# train_into FOLDER CONFIG [--set KEY=VALUE ...], over $GPUS processes.
train_into() {
    local launcher=(multimodal-ser)
    if [ "$GPUS" -gt 1 ]; then
        # Not accelerate's launcher: on a machine without a GPU it starts one process, whatever it is told.
        launcher=(torchrun --standalone --nproc_per_node "$GPUS" -m multimodal_ser)
    fi
    "${launcher[@]}" train "$HERE/$2.yaml" -o "$1" --set "data.manifest=$MANIFEST" "${@:3}" \
        ${SET[@]+"${SET[@]}"}
}

# evaluate_one CONFIG VARIANT [options of evaluate]
evaluate_one() {
    multimodal-ser evaluate "$WORK/runs/$1/$2" "$MANIFEST" -o "$WORK/runs/$1/$2/evaluation" "${@:3}"
}

# Seeds as variants: the usual two stages.
train_seeds() {
    for config in "${CONFIGS[@]}"; do
        for seed in "${VARIANTS[@]}"; do
            train_one "$config" "seed$seed" --set "training.seed=$seed" "$@"
        done
    done
}

evaluate_seeds() {
    for config in "${CONFIGS[@]}"; do
        for seed in "${VARIANTS[@]}"; do evaluate_one "$config" "seed$seed" "$@"; done
    done
}

# Folds as variants: test on one, develop on the next, train on the others.
train_folds() {
    for config in "${CONFIGS[@]}"; do
        for fold in "${VARIANTS[@]}"; do
            train_one "$config" "fold$fold" --set "data.fold=$fold" "$@"
        done
    done
}

evaluate_folds() {
    for config in "${CONFIGS[@]}"; do
        for fold in "${VARIANTS[@]}"; do evaluate_one "$config" "fold$fold" --fold "$fold" --split test "$@"; done
    done
}

# Encoders: pretrained with each seed on the training speakers of each fold alone, then made to tell emotion.
FOLDS=(1 2 3 4 5)

# each_fold COMMAND...: for every seed and fold, as COMMAND... seedS-foldF S F.
each_fold() {
    for seed in "${VARIANTS[@]}"; do
        for fold in "${FOLDS[@]}"; do "$@" "seed$seed-fold$fold" "$seed" "$fold"; done
    done
}

# each_encoder COMMAND: the same for every experiment, as COMMAND CONFIG seedS-foldF S F.
each_encoder() {
    for config in "${CONFIGS[@]}"; do each_fold "$1" "$config"; done
}

# pretrain_one CONFIG VARIANT SEED FOLD: with what a recipe's own add_options CONFIG VARIANT puts into OPTIONS.
pretrain_one() {
    OPTIONS=()
    ! declare -F add_options >/dev/null || add_options "$1" "$2"
    train_into "$WORK/encoders/$1/$2" "$1" --set "training.seed=$3" --set "data.fold=$4" \
        ${OPTIONS[@]+"${OPTIONS[@]}"}
}

# finetune_one CONFIG VARIANT SEED FOLD: finetune.yaml on that encoder, into $WORK/runs/CONFIG/VARIANT.
finetune_one() {
    train_into "$WORK/runs/$1/$2" finetune --set "training.seed=$3" --set "data.fold=$4" \
        --set "model.audio.encoder=$WORK/encoders/$1/$2"
}

# test_one CONFIG VARIANT SEED FOLD
test_one() { evaluate_one "$1" "$2" --fold "$4" --split test; }

pretrain_encoders() { each_encoder pretrain_one; }

finetune_encoders() { each_encoder finetune_one; }

evaluate_encoders() { each_encoder test_one; }

# compare_runs [options of compare]: one table over all experiments.
compare_runs() {
    multimodal-ser compare "$WORK/runs" -o "$WORK/table.json" "$@"
}
