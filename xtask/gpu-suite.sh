#!/usr/bin/env bash
# Runs every check that needs a GPU, with binaries that were built on another machine, so the machine with the
# GPU needs no cargo. It needs python3 with torch and transformers for parity and peers, and compute-sanitizer.
#
#     xtask/gpu-suite.sh build [examples]        # on a machine with cargo: writes target/gpu-suite.tar.gz
#     xtask/gpu-suite.sh run [WORK [PART ...]]   # on a machine with a GPU: all parts or those named
#
# `build` fails if the tree and the packed binaries together exceed 48 MiB, or the program with its models
# 25 MB. `build examples` adds the two benchmark examples, which the 48 MiB do not include. `run` keeps the output
# of each part in WORK, a temporary directory by default, and ends with a table of the parts.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=target/gpu-suite
BUILT="${CARGO_TARGET_DIR:-target}/release"
LIMIT_MIB=48
PROGRAM_MB=30

archive() {
    tar -C target -czf "$BIN.tar.gz" gpu-suite
}

build() {
    set -e
    rm -rf "$BIN" "$BIN.tar.gz"
    mkdir -p "$BIN"
    cargo build --release --features bigbatch/cuda,xtask/cuda -p bigbatch -p xtask
    cp "$BUILT/bigbatch" "$BUILT/xtask" "$BIN"
    local test
    for test in engine/cuda engine/kernels allocators/cuda; do
        local path crate=${test%/*} name=${test#*/}
        path=$(cargo test --release --no-run --features cuda -p "bigbatch-$crate" --test "$name" 2>&1 |
            sed -n 's/.*Executable.*(\(.*\))/\1/p')
        cp "$path" "$BIN/$crate-$name-tests"
    done
    strip "$BIN"/*
    archive
    local bytes program
    bytes=$({ git ls-files -z | xargs -0 cat; cat "$BIN.tar.gz"; } | wc -c)
    program=$(wc -c <"$BIN/bigbatch")
    echo "tree and binaries: $bytes bytes of $LIMIT_MIB MiB; the program: $program bytes of $PROGRAM_MB MB"
    ((bytes <= LIMIT_MIB << 20 && program <= PROGRAM_MB * 1000000))
    if [[ "${1:-}" == examples ]]; then
        cargo build --release --features cuda,flash-attn --examples
        cp "$BUILT"/examples/benchmark_{concurrent,performance} "$BIN"
        strip "$BIN"/benchmark_*
        archive
    fi
}

SUMMARY=()
PARTS=()
FAILED=0

# Runs one part under a time limit in seconds and keeps its output in $WORK.
part() {
    local name=$1 limit=$2 start=$SECONDS verdict=ok
    shift 2
    if ((${#PARTS[@]})) && [[ " ${PARTS[*]} " != *" $name "* ]]; then
        return
    fi
    echo "== $name"
    timeout "$limit" "$@" 2>&1 | tee "$WORK/$name.log"
    if [[ ${PIPESTATUS[0]} -ne 0 ]]; then
        verdict=FAILED
        FAILED=1
    fi
    SUMMARY+=("$(printf '%-28s %-7s %4d s' "$name" "$verdict" $((SECONDS - start)))")
}

# Only this repository's kernels: those of cuBLASLt take minutes under a tool, and we cannot mend them.
OURS=(--kernel-name kns=attention --kernel-name kns=norm --kernel-name kns=rope --kernel-name kns=activation
    --kernel-name kns=pool)

sanitize() {
    local tool=$1
    shift
    part "$tool" 240 compute-sanitizer --error-exitcode 1 --tool "$tool" "${OURS[@]}" "$@"
}

run() {
    WORK=${1:-$(mktemp -d)}
    PARTS=("${@:2}")
    mkdir -p "$WORK"
    tar -C target -xzf "$BIN.tar.gz" || exit 1
    local cells=1x1024,1x8192,1x32768,64x1024,16x4096,8x8192,2x32768
    "$BIN/bigbatch" model init --preset modernbert-base-32k "$WORK/base32k" &&
        "$BIN/bigbatch" model init --preset random "$WORK/tiny" || exit 1
    python3 - "$WORK/tiny.json" <<'P'
import json, sys
sequences = [list(range(5, 5 + n)) for n in (1, 7, 65, 130, 200)]
json.dump([{"sequences": sequences, "rows": "mean"}], open(sys.argv[1], "w"))
P
    part kernels 120 "$BIN/engine-kernels-tests"
    part allocators 120 "$BIN/allocators-cuda-tests" --nocapture
    part engine-on-cuda 240 "$BIN/engine-cuda-tests" --nocapture
    part parity 240 python3 python/goldens/gpu_parity.py --bigbatch "$BIN/bigbatch" --xtask "$BIN/xtask" --work "$WORK"
    for tool in memcheck synccheck; do
        sanitize "$tool" "$BIN/xtask" rows --model "$WORK/tiny" --batches "$WORK/tiny.json" --out "$WORK/tiny-rows"
    done
    # racecheck fails inside the engine's process even if every kernel is filtered out, so check.py loads the
    # kernels without the engine; only attention, because the tool takes minutes for all.
    sanitize racecheck python3 python/kernels/check.py --tiny --only attention
    part doctor 60 "$BIN/bigbatch" doctor --device cuda --model "$WORK/base32k"
    part forward 60 "$BIN/bigbatch" bench forward --device cuda --model "$WORK/base32k" --repeats 10 --shares --cells "$cells"
    part attention 60 "$BIN/bigbatch" bench attention --device cuda --model "$WORK/base32k" --repeats 10 --cells 64x1024,8x8192,2x32768
    part gemm 60 "$BIN/bigbatch" bench gemm --device cuda --model "$WORK/base32k" --repeats 10 --cells 1x1024,8x8192
    part torch-beside-it 180 python3 python/peers/torch_modernbert.py --cells "$cells"
    part bench-memory 60 "$BIN/bigbatch" bench memory --device cuda --model "$WORK/base32k"
    if [[ -x "$BIN/benchmark_performance" ]]; then
        part benchmark_performance 60 "$BIN/benchmark_performance" --model "$WORK/base32k"
        part benchmark_concurrent 300 "$BIN/benchmark_concurrent" --model "$WORK/base32k"
    fi
    part edge 120 "$BIN/bigbatch" validate --plan plans/quick.toml --edge --device cuda --memory-budget 2GiB \
        --model "$WORK/base32k" --out "$WORK/edge"
    part big-batch 600 "$BIN/bigbatch" validate --plan plans/big-batch.toml --device cuda --memory-budget 2GiB \
        --model "$WORK/base32k" --out "$WORK/big-batch"
    part long-context 600 "$BIN/bigbatch" validate --plan plans/long-context.toml --device cuda --memory-budget 2GiB \
        --model "$WORK/base32k" --out "$WORK/long-context"
    echo "== summary, $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)"
    printf '%s\n' "${SUMMARY[@]}"
    return "$FAILED"
}

case "${1:-}" in
build) build "${@:2}" ;;
run) run "${@:2}" ;;
*) echo "usage: xtask/gpu-suite.sh build [examples] | run [WORK [PART ...]]" >&2; exit 2 ;;
esac
