#!/usr/bin/env bash
# The whole suite for a machine with a GPU, from binaries built elsewhere; no cargo there. Needs python3 with
# torch and transformers for parity and peers, and compute-sanitizer for the sanitizers.
#
#     scripts/gpu-suite.sh build [examples]   # where cargo is: target/gpu-suite.tar.gz, with the examples
#     scripts/gpu-suite.sh run [WORK [PART ...]]   # where the GPU is: everything, or parts; a summary last
#
# `build` checks sizes: tree and binaries, as they travel, stay within 48 MiB, the two examples on top where
# they are asked for; the program with its models within 25 MB.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=target/gpu-suite
LIMIT_MIB=48
PROGRAM_MB=25

archive() {
    tar -C target -czf "$BIN.tar.gz" gpu-suite
}

build() {
    set -e
    rm -rf "$BIN" "$BIN.tar.gz"
    mkdir -p "$BIN"
    cargo build --release --features bigbatch/cuda,gpu-suite/cuda -p bigbatch -p gpu-suite
    cp target/release/bigbatch target/release/gpu-suite "$BIN"
    for name in cuda kernels pools; do
        local path
        path=$(cargo test --release --no-run --features cuda -p bigbatch-engine --test "$name" 2>&1 |
            sed -n 's/.*Executable.*(\(.*\))/\1/p')
        cp "$path" "$BIN/$name-tests"
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
        cp target/release/examples/benchmark_{concurrent,performance} "$BIN"
        strip "$BIN"/benchmark_*
        archive
    fi
}

SUMMARY=()
PARTS=()
FAILED=0

# Runs one part under a time limit in seconds and keeps its output.
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

# Our kernels only: the library's are not ours to mend, and take minutes under a tool.
OURS=(--kernel-name kns=attention --kernel-name kns=norm --kernel-name kns=rope --kernel-name kns=geglu
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
    part kernels 120 "$BIN/kernels-tests"
    part pools 120 "$BIN/pools-tests" --nocapture
    part engine-on-cuda 240 "$BIN/cuda-tests" --nocapture
    part parity 240 python3 scripts/gpu_parity.py --bigbatch "$BIN/bigbatch" --gpu-suite "$BIN/gpu-suite" --work "$WORK"
    for tool in memcheck synccheck; do
        sanitize "$tool" "$BIN/gpu-suite" --model "$WORK/tiny" --batches "$WORK/tiny.json" --out "$WORK/tiny-rows"
    done
    # racecheck fails inside the engine's process even when it is to look at no kernel at all, so the kernels
    # are loaded by themselves for it; attention alone, because the tool takes minutes over all.
    sanitize racecheck python3 benches/kernels/check.py --tiny --only attention
    part doctor 60 "$BIN/bigbatch" doctor --device cuda --model "$WORK/base32k"
    part forward 60 "$BIN/bigbatch" bench forward --device cuda --model "$WORK/base32k" --repeats 10 --shares --cells "$cells"
    part attention 60 "$BIN/bigbatch" bench attention --device cuda --model "$WORK/base32k" --repeats 10 --cells 64x1024,8x8192,2x32768
    part gemm 60 "$BIN/bigbatch" bench gemm --device cuda --model "$WORK/base32k" --repeats 10 --cells 1x1024,8x8192
    part torch-beside-it 180 python3 benches/peers/torch_modernbert.py --cells "$cells"
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
*) echo "usage: scripts/gpu-suite.sh build [examples] | run [WORK [PART ...]]" >&2; exit 2 ;;
esac
