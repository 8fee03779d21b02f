"""Trains everything: the shared encoder, then the models side by side, spread over the GPUs.

    python3 python/train/run_all.py --data DATA --out OUT [--work DIR] [--encoder encoder.pt] [--only NAME ...]

OUT gets four files: models.tar.gz (one directory per model, laid out as in crates/models/), encoder.pt,
metrics.json (all models' figures, and whether the bars are met) and train.log. If one model fails, the others
are still trained. `--encoder` takes the encoder of an earlier run, and `--only` trains some of the models.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

import torch

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["jailbreak", "pii", "intent", "embed", "rerank"]
LIMIT_S = 555


def start(script, log, *arguments, threads=4, gpu=0):
    command = [sys.executable, str(HERE / f"{script}.py"), *map(str, arguments)]
    limits = {"OMP_NUM_THREADS": "2", "RAYON_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": str(gpu)}
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | limits)


def bars(metrics):
    """Returns whether each bar is met, or which figure is missing."""
    look = {
        "jailbreak F1 on s-labs test >= 0.90": lambda: metrics["jailbreak"]["held_out"]["s-labs test"]["f1_at_half"]["value"] >= 0.90,
        "intent domain accuracy >= 0.90": lambda: metrics["intent"]["held_out"]["test"]["domain_accuracy_in_scope"]["value"] >= 0.90,
        "pii entity F1 on unseen templates >= 0.90": lambda: metrics["pii"]["held_out"]["test"]["entity_f1"]["value"] >= 0.90,
        "jailbreak false alarms on harmless validation texts <= 1 %": lambda: metrics["jailbreak"]["held_out"]["harmless validation"]["wrong"]["value"] <= 0.01,
        "jailbreak misses of generated validation attacks <= 5 %": lambda: metrics["jailbreak"]["held_out"]["attacks validation"]["wrong"]["value"] <= 0.05,
        "pii finds something in harmless validation texts <= 2 %": lambda: metrics["pii"]["held_out"]["harmless validation"]["texts_where_some_was_found"]["value"] <= 0.02,
        "embed: nearest wording of unseen meanings right, better than TF-IDF": lambda: metrics["embed"]["held_out"]["unseen meanings"]["nearest_is_right"]["value"]
        > metrics["embed"]["held_out"]["unseen meanings"]["tf_idf"]["nearest_is_right"]["value"],
        "rerank: MRR of every source better than TF-IDF": lambda: all(
            f["this model"]["mean_reciprocal_rank"] > f["tf_idf"]["mean_reciprocal_rank"] for f in metrics["rerank"]["held_out"].values()
        ),
        "f16 says what f32 says, >= 99.9 %": lambda: all(
            m["f16_against_f32"].get("same_label", 1.0) >= 0.999 and m["f16_against_f32"].get("min_cosine", 1.0) >= 0.999
            for m in metrics.values()
        ),
    }
    verdicts = {}
    for name, check in look.items():
        try:
            verdicts[name] = bool(check())
        except KeyError as missing:
            verdicts[name] = f"not run: {missing}"
    return verdicts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=None)
    parser.add_argument("--encoder", type=pathlib.Path, help="file written by an earlier run")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps per model, to check that everything runs")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    work = args.work or pathlib.Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    encoder = args.out / "encoder.pt"
    small = ["--steps", 3, "--rows", 60] if args.smoke else []
    timings, failed = {}, []
    with open(args.out / "train.log", "w") as log:
        more = small + (["--tokens", 1024] if args.smoke else [])
        if args.encoder:
            shutil.copy(args.encoder, encoder)
        elif start("pretrain", log, "--data", args.data, "--out", encoder, *more, threads=16).wait() != 0:
            failed.append("pretrain")
        timings["pretrain"] = time.monotonic() - begin
        base = ["--encoder", encoder] if encoder.exists() else []
        more = small + (["--batch", 8, "--long-tokens", 1024] if args.smoke else [])
        rows = lambda m: ["--rows", 1500] if args.smoke and m in ("embed", "rerank") else []
        gpus = max(1, torch.cuda.device_count())
        gpu_of = {m: i % gpus for i, m in enumerate(args.only)}
        make = lambda m, f: start(m, f, "--data", args.data, *base, "--out", work / m, *more, *rows(m), gpu=gpu_of[m])
        logs = {m: open(work / f"{m}.log", "w") for m in args.only}
        if args.smoke:
            for m in args.only:
                make(m, logs[m]).wait()
        running = {} if args.smoke else {m: make(m, logs[m]) for m in args.only}
        while running and time.monotonic() - begin < LIMIT_S:
            for m, process in list(running.items()):
                if process.poll() is not None:
                    timings[m] = time.monotonic() - begin
                    del running[m]
            time.sleep(0.2)
        for process in running.values():
            process.kill()
        for m in args.only:
            logs[m].close()
            log.write(f"\n== {m}\n{(work / f'{m}.log').read_text()}")
    metrics = {}
    for m in args.only:
        path = work / m / "metrics.json"
        if path.exists():
            metrics[m] = json.loads(path.read_text())
        else:
            failed.append(m)
    with tarfile.open(args.out / "models.tar.gz", "w:gz") as tar:
        for m in metrics:
            tar.add(work / m, arcname=m)
    data = json.loads((pathlib.Path(args.data) / "data.json").read_text())
    verdicts = bars(metrics)
    summary = {"bars": verdicts, "failed": failed, "timings_s": timings, "data": data, "models": metrics}
    (args.out / "metrics.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps({k: summary[k] for k in ("bars", "failed", "timings_s")}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
