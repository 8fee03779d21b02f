#!/usr/bin/env python3
"""Compares this harness with oha against the mock server. agreement.sh builds all three and runs it.

The unit is the run: each generator measures each latency law several times, in turn and in alternating order,
and each run gives one p50, p95 and p99. The ratio harness / oha of each percentile is estimated from the runs
with a t interval on the logarithm. "agree" means that the interval lies within +-5 %, "differ" that it lies
outside, "unclear" anything else. The table also gives the law's exact percentile: both generators should be a
little above it, by the time that network, HTTP and kernel take.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import tempfile

MARGIN = 0.05
LAWS = ["constant:20", "exponential:20", "bimodal:10:80:0.1"]
PERCENTILES = ["p50", "p95", "p99"]
# Two-sided 95 % points of Student's t by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@contextlib.contextmanager
def mock(args, law, seed):
    command = args.prefix + [os.path.join(args.examples, "mock_server")]
    command += ["--latency", law, "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            exact = [float(server.stdout.readline().split()[2]) for _ in PERCENTILES]
            yield server.stdout.readline().strip(), exact
        finally:
            server.terminate()


def body(tokens):
    return json.dumps({"inputs": "word " * (tokens - 2), "truncate": False})


def run_oha(args, url):
    command = args.prefix + [args.oha, "--no-tui", "--output-format", "json", "-c", str(args.concurrency)]
    command += ["-n", str(args.requests), "-m", "POST", "-T", "application/json", "-d", body(64), url + "/embed"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["summary"]["successRate"] == 1.0, found["summary"]
    return [found["latencyPercentiles"][p] * 1e3 for p in PERCENTILES]


def run_harness(args, url, plan, directory):
    path = os.path.join(directory, "plan.toml")
    with open(path, "w") as file:
        file.write(plan)
    out = os.path.join(directory, "out")
    command = args.prefix + [args.bigbatch, "validate", "--plan", path, "--out", out, "--target", url]
    command += ["--api", "tei", "--endpoint", "embed", "--tokenizer", "embedded"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    with open(os.path.join(out, "results.json")) as file:
        return out, json.load(file)


def closed(args, url):
    plan = f"""
name = "agreement"
tokens = [64]
concurrency = [{args.concurrency}]
repeat_first = false
[cell]
requests_min = {args.requests}
requests_max = {args.requests * 2}
batches_min = 0
"""
    with tempfile.TemporaryDirectory() as directory:
        _, results = run_harness(args, url, plan, directory)
    figures = results["cells"][0]["status"]["figures"]
    assert figures["successes"] == figures["requests"], figures["failures"]
    return [figures["latency"][p]["nearest_rank_ms"] for p in PERCENTILES]


def compare(ours, theirs):
    """Returns the ratio of geometric means and its interval, by Welch's t with the smaller sample's degrees of freedom."""
    ours, theirs = ([math.log(x) for x in xs] for xs in (ours, theirs))
    ratio = statistics.mean(ours) - statistics.mean(theirs)
    error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    half = T[min(len(ours), len(theirs)) - 1] * error
    low, high = math.exp(ratio - half), math.exp(ratio + half)
    if 1 - MARGIN <= low and high <= 1 + MARGIN:
        verdict = "agree"
    else:
        verdict = "differ" if high < 1 - MARGIN or low > 1 + MARGIN else "unclear"
    return math.exp(ratio), low, high, verdict


def agreement(args):
    print(f"{args.runs} runs each in turn, {args.requests} requests per run, closed loop, C={args.concurrency}\n")
    print("| law (ms) | | exact ms | oha ms | bigbatch ms | bigbatch / oha, 95 % interval | |")
    print("|---|---|---|---|---|---|---|")
    for law in LAWS:
        seen = {"oha": [], "bigbatch": []}
        for number in range(args.runs):
            generators = ["oha", "bigbatch"] if number % 2 == 0 else ["bigbatch", "oha"]
            for generator in generators:
                with mock(args, law, seed=number) as (url, exact):
                    run = run_oha if generator == "oha" else closed
                    seen[generator].append(run(args, url))
        for place, percentile in enumerate(PERCENTILES):
            ours, theirs = ([run[place] for run in seen[g]] for g in ("bigbatch", "oha"))
            ratio, low, high, verdict = compare(ours, theirs)
            print(
                f"| {law} | {percentile} | {exact[place]:.2f} | {statistics.geometric_mean(theirs):.2f} "
                f"| {statistics.geometric_mean(ours):.2f} | {ratio:.3f} [{low:.3f}, {high:.3f}] | {verdict} |",
                flush=True,
            )


def rate(args):
    plan = """
name = "rate"
repeat_first = false
[cell]
requests_min = 40000
requests_max = 100000
batches_min = 0
warmup_seconds = 2
[[scenario]]
name = "2000 requests a second"
tokens = 64
load = { kind = "open", rate_per_second = 2000, arrival = "constant" }
"""
    print("\n2000 requests/s, constant arrivals, latency law constant 5 ms: latency from the intended start")
    print("less the server's own time, by request (20 s per run)\n")
    for number in range(args.runs):
        with tempfile.TemporaryDirectory() as directory, mock(args, "constant:5", number) as (url, _):
            out, _ = run_harness(args, url, plan, directory)
            command = [os.path.join(args.examples, "added_latency"), out]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            print("\n".join(lines if number == 0 else lines[1:]), flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ("--bigbatch", "--examples", "--oha"):
        parser.add_argument(name, required=True)
    parser.add_argument("--runs", type=int, default=5, choices=range(2, 11))
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rate", action="store_true")
    parser.add_argument("--prefix", type=str.split, default=[], help="runs all three under this command, such as 'chrt -r 10' on a shared machine")
    args = parser.parse_args()
    agreement(args)
    if args.rate:
        rate(args)


if __name__ == "__main__":
    main()
