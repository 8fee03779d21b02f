"""The Helm chart, rendered for each of its value sets. Run, it writes deploy/kubernetes/: use `python/deploy/run --write`."""

import functools
import json
import pathlib

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/bigbatch"
PLAIN = ROOT / "deploy/kubernetes"
NAME = "bigbatch"
"""The name and the namespace of the release that is rendered."""
VALUE_SETS = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))


def values_of(value_set):
    return yaml.safe_load((CHART / f"ci/{value_set}.yaml").read_text())


@functools.cache
def load():
    return helm_python.Chart.load(str(CHART))


def render(values):
    """Returns the text of all manifests for these values.

    Raises helm_python.HelmError if the schema of values rejects them."""
    files = load().render(values, name=NAME, namespace=NAME)
    texts = (text.strip() for path, text in sorted(files.items()) if path.endswith(".yaml"))
    return "\n---\n".join(text for text in texts if text) + "\n"


def objects(values):
    """Returns the manifests for these values, parsed."""
    return list(yaml.safe_load_all(render(values)))


def only(kind, found):
    """Returns the one object of a kind."""
    (one,) = (each for each in found if each["kind"] == kind)
    return one


def container(found):
    """Returns the container of the Deployment."""
    return only("Deployment", found)["spec"]["template"]["spec"]["containers"][0]


def plain_manifests(value_set):
    """Returns the content of deploy/kubernetes/VALUE_SET.yaml."""
    about = (CHART / f"ci/{value_set}.yaml").read_text().splitlines()
    comments = [line for line in about if line.startswith("#")]
    header = [
        f"# Rendered from deploy/helm/bigbatch/ci/{value_set}.yaml by `python/deploy/run --write`; not edited by hand.",
        *comments,
        "#",
        f"#     kubectl create namespace {NAME}",
        f"#     kubectl apply --namespace {NAME} -f deploy/kubernetes/{value_set}.yaml",
    ]
    return "\n".join(header) + "\n---\n" + render(values_of(value_set))


def expressions(found):
    """Returns every PromQL expression of these objects: alerts, triggers and the dashboard."""
    for each in found:
        if each["kind"] == "PrometheusRule":
            for group in each["spec"]["groups"]:
                yield from (rule["expr"] for rule in group["rules"])
        elif each["kind"] == "ScaledObject":
            yield from (trigger["metadata"]["query"] for trigger in each["spec"]["triggers"])
        elif each["kind"] == "ConfigMap":
            panels = json.loads(each["data"]["bigbatch.json"])["panels"]
            yield from (target["expr"] for panel in panels for target in panel["targets"])


if __name__ == "__main__":
    PLAIN.mkdir(exist_ok=True)
    for value_set in VALUE_SETS:
        (PLAIN / f"{value_set}.yaml").write_text(plain_manifests(value_set))
