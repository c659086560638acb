"""What `kubectl kustomize` makes of a folder, as far as ours go: so that the manifests can be checked without kubectl.

Knows resources, components, namespace, images, replicas, JSON patches by target, and maps of literals whose name
changes with their content. Whatever else a kustomization has is an error. Where kubectl is installed, a test compares.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

KNOWN = {
    *("apiVersion", "kind", "namespace", "resources", "components", "images"),
    *("replicas", "patches", "configMapGenerator"),
}
CLUSTER_WIDE = {"Namespace"}


def render(folder: Path) -> list[Object]:
    """All objects of the kustomization in `folder`."""
    objects = _build(folder, [])
    names = {each["metadata"]["name"]: _hashed(each) for each in objects if each.pop("generated", False)}
    for each in objects:
        if each["kind"] == "ConfigMap":
            each["metadata"]["name"] = names.get(each["metadata"]["name"], each["metadata"]["name"])
        _refer(each, names)
    return objects


def _build(folder: Path, objects: list[Object]) -> list[Object]:
    """`objects` is what a component is applied to."""
    made = yaml.load((folder / "kustomization.yaml").read_text(), yaml.CSafeLoader)
    if unknown := made.keys() - KNOWN:
        raise ValueError(f"{folder}: this renderer doesn't know {unknown}")
    for name in made.get("resources", []):
        path = folder / name
        objects += _build(path, []) if path.is_dir() else read(path)
    for generator in made.get("configMapGenerator", []):
        _generate(objects, generator)
    for name in made.get("components", []):
        objects = _build(folder / name, objects)
    for patch in made.get("patches", []):
        _patch(objects, patch)
    for each in objects:
        _transform(each, made)
    return objects


def read(path: Path) -> list[Object]:
    """The objects in one file."""
    return [each for each in yaml.load_all(path.read_text(), yaml.CSafeLoader) if each]


def _generate(objects: list[Object], generator: Object) -> None:
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    if generator.get("behavior") == "merge":
        found = next(e for e in objects if e["kind"] == "ConfigMap" and e["metadata"]["name"] == generator["name"])
        found["data"] |= data
    else:
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": generator["name"]},
                "data": data,
                "generated": True,
            }
        )


def _hashed(config_map: Object) -> str:
    digest = hashlib.sha256(json.dumps(config_map["data"], sort_keys=True).encode()).hexdigest()
    return f"{config_map['metadata']['name']}-{digest[:10]}"


def _refer(value: Any, names: dict[str, str]) -> None:
    if isinstance(value, list):
        for each in value:
            _refer(each, names)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in {"configMapRef", "configMapKeyRef", "configMap"} and isinstance(each, dict) and "name" in each:
                each["name"] = names.get(each["name"], each["name"])
            _refer(each, names)


def _transform(each: Object, made: Object) -> None:
    if "namespace" in made:
        if each["kind"] == "Namespace":
            each["metadata"]["name"] = made["namespace"]
        else:
            each["metadata"]["namespace"] = made["namespace"]
    for replicas in made.get("replicas", []):
        if each["kind"] in {"Deployment", "StatefulSet"} and each["metadata"]["name"] == replicas["name"]:
            each["spec"]["replicas"] = replicas["count"]
    for image in made.get("images", []):
        for container in containers(each):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def containers(each: Object) -> list[Object]:
    """The containers of a workload; none of anything else."""
    pod = pod_spec(each)
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def pod_spec(each: Object) -> Object:
    found = each.get("spec", {}).get("template", {}).get("spec", {})
    return found if isinstance(found, dict) else {}


def _patch(objects: list[Object], patch: Object) -> None:
    target, operations = patch["target"], yaml.safe_load(patch["patch"])
    if target.keys() - {"kind", "name"}:
        raise ValueError(f"this renderer doesn't know the target {target}")
    found = [
        each
        for each in objects
        if each["kind"] == target["kind"] and re.fullmatch(target["name"], each["metadata"]["name"])
    ]
    if not found:
        raise ValueError(f"nothing matches {target}")
    for each in found:
        for operation in operations:
            _apply(each, operation)


def _apply(each: Object, operation: Object) -> None:
    """One operation of a JSON patch (RFC 6902), on members of objects."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place = each
    for part in path:
        place = place[part]
    match operation["op"]:
        case "add":
            place[last] = copy.deepcopy(operation["value"])
        case "replace":
            place[last]  # must be there
            place[last] = copy.deepcopy(operation["value"])
        case "remove":
            del place[last]
        case other:
            raise ValueError(f"this renderer doesn't know the operation {other}")
