"""A bigbatch server on a free port, for one test case. The variable BIGBATCH names the program."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

LISTENING = "listening on "


class Server:
    """One process that serves the models of a config file, an embedded model, or a tiny one with random weights."""

    def __init__(self, head=None, labels=(), model=None, options=(), config=None):
        program = os.environ["BIGBATCH"]
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        serve = [program, "serve", "--port", "0", "--log-level", "error", "--drain-delay", "0"]
        if config is not None:
            path = folder / "config.toml"
            path.write_text(config)
            serve += ["--config", str(path)]
        elif model is not None:
            serve += ["--model", model]
        else:
            path = str(folder / "model")
            init = [program, "model", "init", "--preset", "random", "--head", head, path]
            if labels:
                init += ["--labels", ",".join(labels)]
            subprocess.run(init, check=True, capture_output=True)
            serve += ["--model", path]
        serve += ["--max-batch-tokens", "2048", *options]
        self.process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if LISTENING in line:
                self.url = line.split(LISTENING, 1)[1].split()[0]
                break
        else:
            raise RuntimeError(f"the server ended with {self.process.wait()}")
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            time.sleep(0.02)

    def ready(self):
        """Returns whether the model is loaded: until then the server answers 503."""
        try:
            return urllib.request.urlopen(f"{self.url}/ready").status == 200
        except urllib.error.HTTPError:
            return False

    def post(self, path, body):
        """Returns the answer to a body, without any client between."""
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def vectors(self, texts):
        """Returns the vectors of texts by /embed, in requests as large as its limit."""
        rows = []
        for start in range(0, len(texts), 32):
            rows += self.post("/embed", {"inputs": texts[start : start + 32]})
        return rows

    def scores(self, query, texts):
        """Returns the score of each text by /rerank, in requests as large as its limit."""
        scores = []
        for start in range(0, len(texts), 32):
            part = texts[start : start + 32]
            ranks = self.post("/rerank", {"query": query, "texts": part})
            scores += [rank["score"] for rank in sorted(ranks, key=lambda rank: rank["index"])]
        return scores

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


def texts(count):
    """Returns that many texts, no two alike."""
    return [f"Order {n} left warehouse {n % 7} and has not come." for n in range(count)]


class ServerCase(unittest.TestCase):
    """Test cases over one server, with the class's head, embedded model or config file (as text)."""

    head = None
    labels = ()
    model = None
    options = ()
    config = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.head, cls.labels, cls.model, cls.options, cls.config)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
