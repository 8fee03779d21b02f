"""The chart's alerts fire when they should, and not otherwise: promtool runs alerts.yaml on them."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import yaml

import chart

HERE = pathlib.Path(__file__).parent
PROMTOOL = os.environ.get("PROMTOOL")


@unittest.skipUnless(PROMTOOL, "SKIPPED: no promtool, neither installed nor from Debian's package prometheus")
class Alerts(unittest.TestCase):
    def setUp(self):
        found = chart.objects(chart.values_of("replicas-keda"))
        self.rules = chart.only("PrometheusRule", found)["spec"]
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(self.rules))
        (self.folder / "alerts.yaml").write_text((HERE / "alerts.yaml").read_text())

    def promtool(self, *arguments):
        done = subprocess.run([PROMTOOL, *arguments], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules_are_valid(self):
        self.promtool("check", "rules", "rules.yaml")

    def test_alerts_fire_when_they_should(self):
        self.promtool("test", "rules", "alerts.yaml")

    def test_every_alert_fires_in_one_test_and_is_silent_in_another(self):
        tests = yaml.safe_load((HERE / "alerts.yaml").read_text())["tests"]
        checks = [check for test in tests for check in test["alert_rule_test"]]
        every = {rule["alert"] for group in self.rules["groups"] for rule in group["rules"]}
        for silent in (False, True):
            tested = {check["alertname"] for check in checks if (not check["exp_alerts"]) == silent}
            self.assertEqual(every, tested)
