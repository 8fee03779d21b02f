"""A bigbatch server on a free port, for one test case. The variable BIGBATCH names the program."""

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
    """One process that serves one tiny model with random weights and the given head."""

    def __init__(self, head, labels=()):
        program = os.environ["BIGBATCH"]
        self.folder = tempfile.TemporaryDirectory()
        model = pathlib.Path(self.folder.name) / "model"
        init = [program, "model", "init", "--preset", "random", "--head", head, str(model)]
        if labels:
            init += ["--labels", ",".join(labels)]
        subprocess.run(init, check=True, capture_output=True)
        serve = [program, "serve", "--port", "0", "--model", str(model), "--log-level", "error"]
        serve += ["--max-batch-tokens", "2048", "--drain-delay", "0"]
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

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


class ServerCase(unittest.TestCase):
    """Test cases over one server, whose model has the head that the class names."""

    head = None
    labels = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.head, cls.labels)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
