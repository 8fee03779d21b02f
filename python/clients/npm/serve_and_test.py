"""Serves the models that clients.test.mjs uses and runs it with their URLs, in the current directory."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from server import Server

MODELS = {"EMBED_URL": "embed", "LABELS_URL": "jailbreak", "ENTITIES_URL": "pii"}

servers = {name: Server(model=f"embedded:{model}") for name, model in MODELS.items()}
servers["NLI_URL"] = Server("classify", ("entailment", "neutral", "contradiction"))
try:
    urls = {name: server.url for name, server in servers.items()}
    command = ["node", "--test", "clients.test.mjs"]
    sys.exit(subprocess.run(command, env={**os.environ, **urls}).returncode)
finally:
    for server in servers.values():
        server.stop()
