#!/usr/bin/env bash
# Measures a mock server of known latency with this harness and with oha, an independent load generator, in turn,
# and compares their percentiles. With --rate it also measures the latency that this harness adds at 2000
# requests/s.
#
#     python/peers/agreement.sh [--runs 5] [--requests 4000] [--concurrency 16] [--rate]
#         [--prefix 'chrt -r 10']      # for all three, on a shared machine
#
# Builds what it needs in release mode; oha comes from the cargo registry and stays in the target directory.
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGET="${CARGO_TARGET_DIR:-$PWD/target}"
OHA_VERSION=1.16.0

cargo build --release --locked --quiet --bin bigbatch
cargo build --release --locked --quiet -p bigbatch-validate --example mock_server --example added_latency
if [[ ! -x "$TARGET/oha/bin/oha" ]]; then
    cargo install oha --version "$OHA_VERSION" --locked --quiet --root "$TARGET/oha"
fi
exec python3 python/peers/agreement.py --bigbatch "$TARGET/release/bigbatch" \
    --examples "$TARGET/release/examples" --oha "$TARGET/oha/bin/oha" "$@"
