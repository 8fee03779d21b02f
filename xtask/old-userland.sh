#!/usr/bin/env bash
# Runs a released program in the userland of Debian 11 (glibc 2.31) and compares its answers with the goldens. Debian 10
# has left the mirrors. Skips with a notice where debootstrap or root are missing.
#
#     xtask/old-userland.sh PROGRAM
set -euo pipefail
program=$(realpath "${1:?the program, as in target/dist}")
cd "$(dirname "$0")/.."
root=target/bullseye
for tool in debootstrap chroot; do
    command -v "$tool" >/dev/null || { echo "SKIPPED: $tool is missing (apt-get install debootstrap)"; exit 0; }
done
[[ $(id -u) == 0 ]] || { echo "SKIPPED: a chroot needs root"; exit 0; }

if [[ ! -d $root ]]; then
    rm -rf "$root.part"
    debootstrap --variant=minbase bullseye "$root.part" >"$root.log"
    mv "$root.part" "$root"
fi
install -m 755 "$program" "$root/bigbatch"
chroot "$root" ldd --version | head -n 1
chroot "$root" /bigbatch version
python3 python/goldens/released_program.py chroot "$root" /bigbatch
