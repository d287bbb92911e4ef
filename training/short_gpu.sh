#!/bin/bash
# One short training run on one GPU, for a fixed time.
#
#   training/short_gpu.sh pack SOURCE[:SHARE]...   your machine: pack the training speech into $PACK, at most $HOURS of it
#   training/short_gpu.sh count                    GPU machine: steps per second, profiled, with and without bf16 and graph
#   training/short_gpu.sh train [OPTION...]        GPU machine: train for $SECONDS_IN_ALL seconds into $RUN; --resume continues
#
# The GPU machine needs a checkout, $PACK, torch 2.11, numpy, safetensors and soundfile, but no network.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PACK=${PACK:-runs/short/pack}
RUN=${RUN:-runs/short/run}
RECIPE=${RECIPE:-mini-1.1k-short}
START=${START:-}                              # trained weights to start from; default: none
SECONDS_IN_ALL=${SECONDS_IN_ALL:-660}
start=(${START:+--start "$START"})

case ${1:-} in
pack)
    shift
    data=()
    for source in "$@"; do data+=(--data "$source"); done
    "$PYTHON" -m nanocodec.training.pack "$RECIPE" "$PACK" "${data[@]}" ${HOURS:+--hours "$HOURS"} ${KBPS:+--kbps "$KBPS"}
    ;;
count)
    shift
    for options in "--no-graph" "" "--precision bf16-mixed"; do
        echo "== ${options:-as in training}"
        # shellcheck disable=SC2086
        "$PYTHON" -m nanocodec.training.short "$PACK" "$RUN" "${start[@]}" --count "${STEPS:-20}" $options "$@"
    done
    ;;
train)
    shift
    "$PYTHON" -m nanocodec.training.short "$PACK" "$RUN" "${start[@]}" --seconds "$SECONDS_IN_ALL" "$@"
    ;;
*)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
