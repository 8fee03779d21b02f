#!/usr/bin/env bash
# Builds an image with buildah, without a registry: from a released program, or from the one that `cargo xtask dist` builds.
# Prints the size of the image and of each file in it above 1 MB.
#
#     deploy/docker/build.sh cpu|cuda [PROGRAM]     # localhost/bigbatch:cpu, also as :VERSION-cpu, which the chart names
#
# Needs Debian 12 or newer with cargo, git, python3 with pip, and `apt-get install buildah`.
set -euo pipefail
variant=${1:?cpu or cuda}
program=${2:-}
[[ -z $program ]] || program=$(realpath "$program")
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
if [[ -z $program ]]; then
    cargo run --quiet --locked --package xtask -- dist
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    program=$target/dist/bigbatch-$version-$(uname -m)-unknown-linux-gnu/bigbatch
fi

folder=$target/image/$variant
version=$("$program" version | cut -d' ' -f2)
deploy/docker/rootfs.sh "$variant" "$program" "$folder/rootfs"
empty=$(mktemp -d)
trap 'rmdir "$empty"' EXIT
# Docker's format: the other has no HEALTHCHECK.
buildah build --quiet --format docker --file deploy/docker/Dockerfile --target "$variant" \
    --build-context "$variant-root=$folder" \
    --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --tag "localhost/bigbatch:$variant" --tag "localhost/bigbatch:$version-$variant" "$empty" >/dev/null

total=$(find "$folder/rootfs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
echo "localhost/bigbatch:$variant: $total bytes in files"
find "$folder/rootfs" -type f -size +1000k -printf '%s %P\n' | sort -nr |
    awk -v total="$total" '{ printf "%12d  %5.1f %%  /%s\n", $1, 100 * $1 / total, $2 }'
