"""Every manifest against the API of each supported Kubernetes, and our renderer against kubectl's."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml
from kustomize import Object, read, render

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
# docs/kubernetes.md names the same ones.
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
OVERLAYS = ("base", "overlays/dev", "overlays/production")
# Of others' APIs: their schemas come with their operators.
FOREIGN = {"postgresql.cnpg.io", "barmancloud.cnpg.io", "cert-manager.io", "keda.sh", "monitoring.coreos.com"}
KUBECTL = os.environ.get("KUBECTL") or shutil.which("kubectl")


def is_foreign(each: Object) -> bool:
    return str(each["apiVersion"]).split("/")[0] in FOREIGN


def name(each: Object) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


@functools.cache
def _definitions(version: str) -> jsonschema_rs.Registry:
    definitions = json.loads((SCHEMAS / f"v{version}.0-local-strict" / "_definitions.json").read_text())
    return jsonschema_rs.Registry([(definitions["$id"], definitions)])


@functools.cache
def _validator(version: str, kind: str, api_version: str) -> jsonschema_rs.Draft202012Validator:
    group, _, short = api_version.rpartition("/")
    words = [kind.lower(), *([group.split(".")[0]] if group else []), short]
    path = SCHEMAS / f"v{version}.0-local-strict" / f"{'-'.join(words)}.json"
    return jsonschema_rs.Draft202012Validator(json.loads(path.read_text()), registry=_definitions(version))


def faults(each: Object, version: str) -> list[str]:
    """What the API server of that version would refuse."""
    validator = _validator(version, each["kind"], each["apiVersion"])
    return [f"{name(each)} {error.instance_path}: {error.message}" for error in validator.iter_errors(each)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_manifests(overlay: str, version: str) -> None:
    objects = render(KUBERNETES / overlay)
    assert len(objects) > 30
    assert [fault for each in objects if not is_foreign(each) for fault in faults(each, version)] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "path",
    sorted(p for part in ("examples", "components") for p in (KUBERNETES / part).rglob("*.yaml")),
    ids=lambda path: str(path.relative_to(KUBERNETES)),
)
def test_examples_and_components(path: Path, version: str) -> None:
    objects = [each for each in read(path) if "apiVersion" in each and "kustomize" not in each["apiVersion"]]
    assert [fault for each in objects if not is_foreign(each) for fault in faults(each, version)] == []
    for each in objects:
        assert each["metadata"]["name"], path


@pytest.mark.parametrize("version", VERSIONS)
def test_mistakes_are_noticed(version: str) -> None:
    deployment = next(each for each in render(KUBERNETES / "base") if each["kind"] == "Deployment")
    assert faults(deployment, version) == []
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    deployment["spec"]["replicas"] = "two"
    assert len(faults(deployment, version)) == 2


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl (or KUBECTL)")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same(overlay: str) -> None:
    done = subprocess.run([str(KUBECTL), "kustomize", str(KUBERNETES / overlay)], capture_output=True, check=True)
    theirs = [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]
    ours = render(KUBERNETES / overlay)

    def comparable(objects: list[Object]) -> dict[str, str]:
        """By name; the hash in the name of the settings is made differently."""
        settings = next(e["metadata"]["name"] for e in objects if e["kind"] == "ConfigMap")
        texts = [(name(e), json.dumps(e, sort_keys=True)) for e in objects]
        return {key.replace(settings, "settings"): text.replace(settings, "settings") for key, text in texts}

    assert comparable(ours) == comparable(theirs)


def test_every_component_is_rendered_somewhere(tmp_path: Path) -> None:
    """Also those that the overlays only mention."""
    for component in sorted((KUBERNETES / "components").iterdir()):
        folder = tmp_path / component.name
        folder.mkdir()
        up = os.path.relpath(KUBERNETES, folder)
        made = {"resources": [f"{up}/base"], "components": [f"{up}/components/{component.name}"]}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
        objects = render(folder)
        assert [fault for each in objects if not is_foreign(each) for fault in faults(each, VERSIONS[-1])] == []
        if KUBECTL is not None:
            command = [KUBECTL, "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder)]
            theirs = list(
                yaml.load_all(subprocess.run(command, capture_output=True, check=True).stdout, yaml.CSafeLoader)
            )
            assert len(theirs) == len(objects)
