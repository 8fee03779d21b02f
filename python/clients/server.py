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
    """One process that serves an embedded model, or a tiny model with random weights and the given head."""

    def __init__(self, head=None, labels=(), model=None, options=()):
        program = os.environ["BIGBATCH"]
        self.folder = tempfile.TemporaryDirectory()
        if model is None:
            model = pathlib.Path(self.folder.name) / "model"
            init = [program, "model", "init", "--preset", "random", "--head", head, str(model)]
            if labels:
                init += ["--labels", ",".join(labels)]
            subprocess.run(init, check=True, capture_output=True)
        serve = [program, "serve", "--port", "0", "--model", str(model), "--log-level", "error"]
        serve += ["--max-batch-tokens", "2048", "--drain-delay", "0", *options]
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
    """Test cases over one server, whose model has the head that the class names, or is embedded."""

    head = None
    labels = ()
    model = None
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.head, cls.labels, cls.model, cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
