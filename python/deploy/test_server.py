"""What the chart uses of a server exists: options, ports, probes and metrics. The variable BIGBATCH names the program."""

import json
import os
import pathlib
import re
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import yaml

import chart

BIGBATCH = os.environ["BIGBATCH"]
# Options that values cannot set, because the chart sets them, or has no use for them.
OF_THE_CHART = {
    "api_key", "api_key_file", "device", "host", "huggingface_hub_cache", "model", "port", "runtime_listen",
    "runtime_no_auth", "tls_cert", "tls_key",
}  # fmt: skip
# Series that only a server with a GPU has: that they exist is looked up in the source.
OF_A_GPU = {"bigbatch_device_memory_bytes"}
LISTENING = "listening on "


def program(*arguments):
    return subprocess.run([BIGBATCH, *arguments], capture_output=True, text=True, check=False)


class Options(unittest.TestCase):
    def test_every_option_that_values_can_set_is_one_of_serve(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())
        options = set(schema["properties"]["options"]["properties"])
        printed = program("serve", "--print-config").stdout
        existing = set(re.findall(r"^(?:# )?([a-z_]+) (?:=|is (?:not )?set)", printed, re.MULTILINE))
        self.assertEqual(existing, options | OF_THE_CHART)
        self.assertFalse(options & OF_THE_CHART)

    def test_serve_takes_the_arguments_of_every_value_set(self):
        known = program("serve", "--help").stdout
        for value_set in chart.VALUE_SETS:
            with self.subTest(value_set):
                arguments = chart.container(chart.objects(chart.values_of(value_set)))["args"]
                done = program(*arguments, "--print-config")
                self.assertEqual(done.returncode, 0, done.stderr)
                for flag in (argument.split("=")[0] for argument in arguments[1:]):
                    self.assertRegex(known, rf" {flag}[ \[]")
                    key = flag[2:].replace("-", "_")
                    self.assertRegex(done.stdout, rf"(?m)^{key} = .*  # flag$")

    def test_kserve_passes_options_of_serve(self):
        runtime = next(yaml.safe_load_all((chart.ROOT / "deploy/kserve/bigbatch.yaml").read_text()))
        arguments = runtime["spec"]["containers"][0]["args"]
        done = program(*arguments, "--print-config")
        self.assertEqual(done.returncode, 0, done.stderr)


class Server:
    """The program with the arguments and variables of a rendered container, on a free port of this machine.

    What the chart mounts is found in a folder of this machine instead."""

    def __init__(self, found, folder):
        container = chart.container(found)
        here = lambda text: re.sub(r"(^|=)/(cache|etc)", rf"\1{folder}/\2", text)  # noqa: E731
        arguments = [here(argument) for argument in container["args"]]
        self.port = next(one for one in arguments if one.startswith("--port=")).split("=")[1]
        arguments = [one for one in arguments if not one.startswith(("--host=", "--port="))]
        variables = {each["name"]: here(each["value"]) for each in container["env"]}
        command = [BIGBATCH, *arguments, "--host=127.0.0.1", "--port=0"]
        log = open(f"{folder}/log", "w")
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        for line in self.process.stdout:
            if LISTENING in line:
                self.url = line.split(LISTENING, 1)[1].split()[0]
                break
        else:
            self.process.wait()
            raise RuntimeError(pathlib.Path(f"{folder}/log").read_text())
        while self.get("/ready")[0] != 200:
            if self.process.poll() is not None:
                raise RuntimeError(pathlib.Path(f"{folder}/log").read_text())
            time.sleep(0.05)

    def get(self, path, body=None):
        """Returns the status and the body of the answer; sends a POST if there is a body to send."""
        unchecked = ssl._create_unverified_context()
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, context=unchecked) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class ServerCase(unittest.TestCase):
    def start(self, found, folder):
        server = Server(found, folder)
        self.addCleanup(server.stop)
        return server

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def check_probes_and_ports(self, server, found):
        container = chart.container(found)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.assertEqual(list(ports.values()), [int(server.port)])
        scheme = server.url.split(":")[0]
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[name]["httpGet"]
            self.assertIn(probe["port"], ports)
            self.assertEqual(probe["scheme"].lower(), scheme)
            self.assertEqual(server.get(probe["path"])[0], 200, probe)
        service = chart.only("Service", found)["spec"]
        self.assertIn(service["ports"][0]["targetPort"], ports)
        policy = chart.only("NetworkPolicy", found)["spec"]
        self.assertEqual([port["port"] for port in policy["ingress"][0]["ports"]], list(ports))
        return {port["name"] for port in service["ports"]}


class Cpu(ServerCase):
    def test_probes_ports_metrics_and_memory_are_those_of_a_running_server(self):
        found = chart.objects(chart.values_of("cpu"))
        server = self.start(found, self.folder())
        self.check_probes_and_ports(server, found)
        # The series of a route begin with its first request.
        self.assertEqual(server.get("/embed", b'{"inputs": "a text"}')[0], 200)
        status, page = server.get("/metrics")
        self.assertEqual(status, 200)
        self.check_metrics(page)
        resident = int(re.search(r"^process_resident_memory_bytes (\d+)", page, re.MULTILINE)[1])
        limit = int(chart.container(found)["resources"]["limits"]["memory"].removesuffix("Mi")) << 20
        self.assertLess(resident, limit)

    def check_metrics(self, page):
        """Compares every series of an alert, a trigger, the dashboard and the adapter with the page."""
        names = set()
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
            parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names.update(name + part for part in parts)
        source = (chart.ROOT / "crates/server/src/observe/prometheus.rs").read_text()
        names.update(name for name in OF_A_GPU if f'"{name}"' in source)
        used = [expr for one in chart.VALUE_SETS for expr in chart.expressions(chart.objects(chart.values_of(one)))]
        self.assertGreater(len(used), 30)
        adapter = yaml.safe_load((chart.PLAIN / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
        used += [rule["seriesQuery"] for rule in adapter]
        for expr in used:
            series = re.findall(r"\b(?:bigbatch|te|process)_[a-z0-9_]+", re.sub(r'"[^"]*"', "", expr))
            self.assertTrue(series, expr)
            self.assertEqual(set(series) - names, set(), expr)
            for label, wanted in re.findall(r'\b(reason|method)=~?"([^"]+)"', expr):
                for value in wanted.split("|"):
                    self.assertTrue(f'{label}="{value}"' in page, expr)

    def test_the_autoscaler_asks_for_metrics_that_the_adapter_has(self):
        adapter = yaml.safe_load((chart.PLAIN / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
        made = {rule["name"]["as"] for rule in adapter}
        found = chart.objects(chart.values_of("airgapped-pvc"))
        metrics = chart.only("HorizontalPodAutoscaler", found)["spec"]["metrics"]
        self.assertEqual({metric["pods"]["metric"]["name"] for metric in metrics}, made)


class KeysAndTls(ServerCase):
    def test_probes_and_scrapes_need_no_key(self):
        values = chart.values_of("keys-tls")
        # The volume with the model is not here; everything else is as rendered.
        values["models"] = [{"source": "embedded:jailbreak"}]
        found = chart.objects(values)
        folder = self.folder()
        for name in ("keys", "tls"):
            (folder / "etc/bigbatch" / name).mkdir(parents=True)
        (folder / "etc/bigbatch/keys/keys").write_text("a-key\n")
        certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        files = ["-keyout", f"{folder}/etc/bigbatch/tls/tls.key", "-out", f"{folder}/etc/bigbatch/tls/tls.crt"]
        try:
            subprocess.run(certificate + files, check=True, capture_output=True)
        except FileNotFoundError:
            self.skipTest("SKIPPED: openssl, which makes a certificate, is not installed")
        server = self.start(found, folder)
        ports = self.check_probes_and_ports(server, found)
        (endpoint,) = chart.only("ServiceMonitor", found)["spec"]["endpoints"]
        self.assertIn(endpoint["port"], ports)
        self.assertEqual(endpoint["scheme"], server.url.split(":")[0])
        self.assertEqual(server.get(endpoint["path"])[0], 200)
        self.assertEqual(server.get("/info")[0], 401)
