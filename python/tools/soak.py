#!/usr/bin/env python3
"""Loads a running server for a long time and checks that its resident memory stays flat.

    bigbatch serve --port 8080 --model embedded:embed &
    python/tools/soak.py --pid $! --concurrency 100 --seconds 600

Prints responses by status, percentiles of latency, responses of 429 and 503 without Retry-After, and resident
memory: after the first tenth of the run (everything has been touched by then), the maximum since, and at the
end. Exits 1 if a request got another status than 200, 429 or 503, if a 429 or 503 had no Retry-After, or if
memory grew by more than --growth-mib. Needs Linux and the standard library only.
"""

import argparse
import collections
import http.client
import json
import random
import threading
import time


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def client(options, end, seed, records, lock):
    rng = random.Random(seed)
    connection = http.client.HTTPConnection(options.host, options.port, timeout=120)
    headers = {"content-type": "application/json"}
    while time.monotonic() < end:
        words = rng.randint(1, options.words)
        body = json.dumps({"inputs": " ".join(rng.choice("alpha beta gamma".split()) for _ in range(words))})
        started = time.monotonic()
        try:
            connection.request("POST", "/embed", body, headers)
            answer = connection.getresponse()
            answer.read()
            status, hint = answer.status, answer.getheader("retry-after")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, hint = type(error).__name__, None
        with lock:
            records.append((status, time.monotonic() - started, hint is not None))
        if status in (429, 503):
            time.sleep(rng.uniform(0.5, 1.5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--pid", type=int, required=True, help="process id of the server")
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--words", type=int, default=400, help="words of the longest text")
    parser.add_argument("--growth-mib", type=float, default=16)
    options = parser.parse_args()

    records, lock = [], threading.Lock()
    start = time.monotonic()
    end = start + options.seconds
    threads = [
        threading.Thread(target=client, args=(options, end, seed, records, lock), daemon=True)
        for seed in range(options.concurrency)
    ]
    for thread in threads:
        thread.start()
    samples = []
    while time.monotonic() < end:
        samples.append((time.monotonic() - start, resident_bytes(options.pid)))
        time.sleep(1)
    for thread in threads:
        thread.join(130)
    samples.append((time.monotonic() - start, resident_bytes(options.pid)))

    statuses = collections.Counter(status for status, _, _ in records)
    latencies = sorted(seconds for status, seconds, _ in records if status == 200)
    settled = [bytes for at, bytes in samples if at >= options.seconds / 10]
    growth = (settled[-1] - settled[0]) / 2**20
    without_hint = sum(status in (429, 503) and not hint for status, _, hint in records)
    print("statuses", dict(statuses), "- without Retry-After:", without_hint)
    for percent in (50, 95, 99):
        if latencies:
            print(f"latency_ms_p{percent} {latencies[(len(latencies) * percent + 99) // 100 - 1] * 1e3:.1f}")
    mib = [bytes / 2**20 for bytes in (settled[0], max(settled), settled[-1])]
    print("resident_mib settled %.1f, max %.1f, end %.1f, growth %.1f" % (*mib, growth))
    bad = set(statuses) - {200, 429, 503}
    return 1 if bad or without_hint or growth > options.growth_mib else 0


if __name__ == "__main__":
    raise SystemExit(main())
