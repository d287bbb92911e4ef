#!/bin/bash
# All checks that need a GPU, in order, each with its own time limit: under 14 minutes in total.
#
#   training/gpu_all.sh prepare    your machine: the same run on the CPU, to compare with ($OUT/expected)
#   training/gpu_all.sh train      GPU machine, up to 9 minutes: steps per second, then one short training run
#   training/gpu_all.sh check      GPU machine, up to 6 minutes: tests that need a GPU, evalkit run and bench, kernels
#
# Run training/short_gpu.sh pack first. If a step fails or exceeds its limit, the next one still runs; $OUT/NAME.log has
# its output, and $OUT/summary.txt the exit code and time of each. DEVICE=cpu and smaller limits make a dry run. `check`
# needs evalkit's own dependencies: without a network, set WHEELS to a folder of wheels to install.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-python3} PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH}
OUT=${OUT:-runs/gpu}
DEVICE=${DEVICE:-cuda}
CODEC=${CODEC:-nanocodec@1.1k}
METRICS=${METRICS:-estoi,mel-2048-80-ln1p,pesq-wb}
LIMIT=${LIMIT:-}
mkdir -p "$OUT"

step() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 begun=$SECONDS code
    shift 2
    timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    code=$?
    printf '%-10s code %-4s %4d s of %s\n' "$name" "$code" $((SECONDS - begun)) "$limit" | tee -a "$OUT/summary.txt"
    [ $code = 0 ] || tail -5 "$OUT/$name.log"
}

run() { # DIRECTORY DEVICE BATCH
    "$PYTHON" -m evalkit run --codec "$CODEC" --dataset builtin --metrics "$METRICS" --output "$1" --overwrite \
        --no-cache --device "$2" --batch "$3" ${LIMIT:+--limit "$LIMIT"}
}
export -f run
export CODEC METRICS LIMIT

case ${1:-} in
prepare)
    step cpu 600 bash -c "run '$OUT/expected' cpu 1"
    ;;
train)
    step count "${COUNT_LIMIT:-90}" training/short_gpu.sh count --device "$DEVICE"
    SECONDS_IN_ALL=${SECONDS_IN_ALL:-400} step train "${TRAIN_LIMIT:-415}" training/short_gpu.sh train --device "$DEVICE"
    ;;
check)
    [ -z "${WHEELS:-}" ] || step wheels 30 "$PYTHON" -m pip install --no-index --no-deps --no-build-isolation "$WHEELS"/*.whl -e .
    step tests "${TESTS_LIMIT:-40}" "$PYTHON" -m pytest -q -p no:cacheprovider tests/nanocodec/test_cuda.py
    step run "${RUN_LIMIT:-40}" bash -c "run '$OUT/found' '$DEVICE' 8"
    step compare 10 "$PYTHON" benchmarks/devices.py "$OUT/expected" "$OUT/found"
    step bench "${BENCH_LIMIT:-45}" "$PYTHON" -m evalkit bench --codec "$CODEC" --device "$DEVICE" --batch 1,8,32 \
        --measure count,time --rounds "${ROUNDS:-6}" --seconds "${BENCH_SECONDS:-10}" --output "$OUT/bench" --overwrite
    step kernels "${KERNELS_LIMIT:-150}" "$PYTHON" benchmarks/nanocodec_fused.py --rounds "${ROUNDS:-6}"
    ;;
*)
    sed -n '2,12p' "$0" >&2
    exit 2
    ;;
esac
