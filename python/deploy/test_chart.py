"""The chart renders for each value set, its manifests fit the schemas of what reads them, and wrong values are refused."""

import copy
import json
import unittest

import helm_python
import kubernetes_validate
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

import chart

CUSTOM = {model.__name__: model for model in (PrometheusRule, ScaledObject, ServiceMonitor)}
EVERYTHING = ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"]
KINDS = {
    "airgapped-pvc": ["HorizontalPodAutoscaler"],
    "cpu": [],
    "gpu": [],
    "keys-tls": ["ServiceMonitor"],
    "replicas-keda": ["ConfigMap", "PrometheusRule", "ScaledObject", "ServiceMonitor"],
}
"""The kinds of each value set beside those of all."""


def check_schema(manifest):
    """Raises an error for a manifest that its schema rejects, or that has a field that its schema does not have."""
    model = CUSTOM.get(manifest["kind"])
    if model is None:
        newest = kubernetes_validate.latest_version()
        kubernetes_validate.validate(manifest, newest, strict=True)
        return
    # These models pass over what they do not know: it is missing from what they return.
    read = model.model_validate(manifest).model_dump(by_alias=True, exclude_unset=True, mode="json")
    if read != manifest:
        raise ValueError(f"{manifest['kind']} is read as {read}")


class Chart(unittest.TestCase):
    maxDiff = None

    def test_lint_finds_nothing(self):
        found = helm_python.lint(str(chart.CHART))
        said = [each["error"] for each in found["messages"] if each["severity"] > 1]
        self.assertEqual((said, found["errors"]), ([], []))

    def test_every_value_set_has_its_kinds_and_fits_the_newest_schemas(self):
        self.assertEqual(chart.VALUE_SETS, sorted(KINDS))
        for value_set, more in KINDS.items():
            with self.subTest(value_set):
                found = chart.objects(chart.values_of(value_set))
                self.assertEqual(sorted(each["kind"] for each in found), sorted(EVERYTHING + more))
                for each in found:
                    check_schema(each)

    def test_the_schemas_reject_unknown_fields(self):
        found = chart.objects(chart.values_of("replicas-keda"))
        for each in found:
            broken = copy.deepcopy(each)
            broken.get("spec", broken)["unknown"] = 1
            with self.subTest(each["kind"]), self.assertRaises(Exception):
                check_schema(broken)

    def test_the_plain_manifests_are_those_of_the_chart(self):
        files = sorted(path.stem for path in chart.PLAIN.glob("*.yaml"))
        self.assertEqual([name for name in files if name != "prometheus-adapter"], chart.VALUE_SETS)
        for value_set in chart.VALUE_SETS:
            with self.subTest(value_set):
                written = (chart.PLAIN / f"{value_set}.yaml").read_text()
                say = "python/deploy/run --write renders them anew"
                self.assertEqual(written, chart.plain_manifests(value_set), say)

    def test_wrong_values_are_refused(self):
        for wrong in (
            {"options": {"max_batch_token": 1}},
            {"options": {"api_key": "secret"}},
            {"options": {"port": 80}},
            {"options": {"memory_budget": "2"}},
            {"options": {"memory_budget": None}},
            {"models": []},
            {"models": [{"source": "relative"}]},
            {"modelVolume": {"claim": "a", "image": "b"}},
            {"autoscaling": {"kind": "cpu"}},
            {"autoscaling": {"kind": "keda"}},
            {"replica": 2},
        ):
            with self.subTest(wrong), self.assertRaises(helm_python.HelmError):
                chart.render(wrong)

    def test_values_that_validate_recommends_are_accepted(self):
        name = "harness__advice__the_values_of_the_chart_are_what_they_were.snap"
        found = chart.ROOT / "crates/validate/tests/harness/snapshots" / name
        # A document about the snapshot comes first.
        *_, values = yaml.safe_load_all(found.read_text())
        self.assertEqual(values["gpu"], {"enabled": True})
        arguments = chart.container(chart.objects(values))["args"]
        expected = {
            "model": "embedded:pii",
            "for-model": 'embedded:pii: a "quoted" \\ é: 512 tokens',
            "memory-budget": "1216MiB",
            "max-concurrent-requests": "64",
            "max-batch-tokens": "2048",
            "auto-truncate": "false",
        }
        self.assertEqual(len(values["options"]) + len(values["models"]), len(expected))
        for flag, value in expected.items():
            self.assertIn(f"--{flag}={value}", arguments)

    def test_the_memory_limit_is_the_sum_of_the_budgets(self):
        for values, memory in (
            ({}, "3072Mi"),
            ({"options": {"memory_budget": "300MiB", "host_memory_budget": "1GiB"}}, "1836Mi"),
            ({"resources": {"overheadMiB": 1024}}, "3584Mi"),
            ({"gpu": {"enabled": True}, "options": {"memory_budget": "40GiB"}}, "3584Mi"),
        ):
            resources = chart.container(chart.objects(values))["resources"]
            self.assertEqual([resources[which]["memory"] for which in ("requests", "limits")], [memory] * 2)

    def test_a_pod_outlives_its_drain(self):
        for options, seconds in (
            ({}, 10 + 120 + 15),
            ({"drain_timeout": 0}, 10 + 0 + 15),
            ({"request_timeout": 30.5, "drain_delay": 0}, 0 + 31 + 15),
        ):
            pod = chart.only("Deployment", chart.objects({"options": options}))["spec"]["template"]["spec"]
            self.assertEqual(pod["terminationGracePeriodSeconds"], seconds)

    def test_only_a_model_of_the_hub_has_a_way_out(self):
        for source, offline, out in (
            ("embedded:pii", False, False),
            ("/models/pii", False, False),
            ("owner/name@v1", False, True),
            ("owner/name", True, False),
        ):
            values = {"models": [{"source": source}], "hub": {"offline": offline}}
            policy = chart.only("NetworkPolicy", chart.objects(values))["spec"]
            self.assertEqual(("Egress" in policy["policyTypes"], bool(policy["egress"])), (True, out), source)

    def test_secrets_are_mounted_and_never_arguments(self):
        found = chart.objects(chart.values_of("keys-tls"))
        self.assertNotIn("Secret", [each["kind"] for each in found])
        arguments = " ".join(chart.container(found)["args"])
        self.assertNotIn("--api-key=", arguments)
        mounts = {mount["mountPath"]: mount.get("readOnly") for mount in chart.container(found)["volumeMounts"]}
        for option in ("api-key-file", "tls-cert", "tls-key"):
            path = arguments.split(f"--{option}=", 1)[1].split()[0]
            self.assertTrue(mounts[path.rsplit("/", 1)[0]], path)

    def test_kserve_runs_the_container_as_the_chart_does(self):
        example = yaml.safe_load_all((chart.ROOT / "deploy/kserve/bigbatch.yaml").read_text())
        runtime, service = example
        self.assertEqual((runtime["kind"], service["kind"]), ("ServingRuntime", "InferenceService"))
        predictor = service["spec"]["predictor"]
        formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
        self.assertIn(predictor["model"]["modelFormat"]["name"], formats)
        self.assertEqual(predictor["model"]["runtime"], runtime["metadata"]["name"])
        (theirs,) = runtime["spec"]["containers"]
        # KServe replaces the container of this name.
        self.assertEqual(theirs["name"], "kserve-container")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
        check_schema(pod | {"spec": {"containers": [theirs], "volumes": runtime["spec"]["volumes"]}})
        ours = chart.container(chart.objects({}))
        for key in ("securityContext", "image"):
            self.assertEqual(theirs[key], ours[key])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = [each[probe]["httpGet"]["path"] for each in (theirs, ours)]
            self.assertEqual(*path)

    def test_the_schema_of_values_is_a_schema(self):
        from jsonschema import Draft202012Validator

        Draft202012Validator.check_schema(json.loads((chart.CHART / "values.schema.json").read_text()))
