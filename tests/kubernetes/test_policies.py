"""What must hold for every workload: Pod Security "restricted", limits, probes, who may talk to whom."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from kustomize import Object, containers, pod_spec, render

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("overlays/dev", "overlays/production")
SERVICES = ("store-api", "smtp-in", "smtp-out", "pop3", "imap")
FRONTENDS = ("smtp-in", "pop3", "imap")
# Volumes of Pod Security "restricted".
VOLUMES = {"name", "configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


@functools.cache
def rendered(overlay: str) -> list[Object]:
    """Only to be read."""
    return render(KUBERNETES / overlay)


def workloads(overlay: str) -> Iterator[tuple[str, Object]]:
    """Name and pod of all that runs."""
    for each in rendered(overlay):
        if pod_spec(each):
            yield each["metadata"]["name"], pod_spec(each)


def objects(overlay: str, kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in rendered(overlay) if each["kind"] == kind}


def test_pods_are_restricted(overlay: str) -> None:
    for name, pod in workloads(overlay):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["serviceAccountName"] == name
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        for volume in pod.get("volumes", []):
            assert volume.keys() <= VOLUMES, (name, volume)
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], (name, volume)
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert not container.get("securityContext", {}).get("privileged"), name
            assert not any("hostPort" in port for port in container.get("ports", [])), name


def test_the_namespace_enforces_it(overlay: str) -> None:
    labels = objects(overlay, "Namespace")["postroom"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_accounts_have_no_token_and_no_rights(overlay: str) -> None:
    accounts = objects(overlay, "ServiceAccount")
    assert {name for name, _ in workloads(overlay)} == accounts.keys()
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret"):
        assert not objects(overlay, kind), "secrets by reference, no rights"


def test_resources_are_limited(overlay: str) -> None:
    for name, pod in workloads(overlay):
        for container in pod["containers"]:
            for part in ("requests", "limits"):
                assert container["resources"][part].keys() == {"cpu", "memory"}, name


def test_images_are_pinned(overlay: str) -> None:
    for name, pod in workloads(overlay):
        for container in pod["containers"]:
            image, _, tag = container["image"].rpartition(":")
            assert image, (name, container["image"])
            assert "/" not in tag, (name, container["image"])
            assert tag != "latest", name


def test_probes(overlay: str) -> None:
    """Into service when all that is needed answers; out of it, and started again, only for what is its own."""
    for name, pod in workloads(overlay):
        if name == "migrate":
            continue
        (container,) = pod["containers"]
        probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
        for kind, probe in probes.items():
            assert probe["timeoutSeconds"] >= 3, (name, kind)
        if name in SERVICES:
            assert {kind: probe["httpGet"] for kind, probe in probes.items()} == {
                "startup": {"path": "/readyz", "port": "admin"},
                "readiness": {"path": "/openz", "port": "admin"},
                "liveness": {"path": "/healthz", "port": "admin"},
            }
            assert probes["startup"]["timeoutSeconds"] > 5, "longer than /readyz itself may take"

        def patience(kind: str, found: dict[str, Object] = probes) -> int:
            return int(found[kind]["periodSeconds"] * found[kind]["failureThreshold"])

        assert patience("readiness") < patience("liveness") <= patience("startup"), name


def test_who_leaves_drains_first(overlay: str) -> None:
    settings = next(iter(objects(overlay, "ConfigMap").values()))["data"]
    drain_s = float(settings["POSTROOM_DRAIN_S"])
    for name, deployment in objects(overlay, "Deployment").items():
        pod = pod_spec(deployment)
        pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        # A service needs 10 s more at most (docs/operations.md).
        needed_s = pause_s + 10 + (drain_s if name in FRONTENDS else 0)
        assert pod["terminationGracePeriodSeconds"] > needed_s, name
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_each_service_may_be_disturbed_one_by_one_and_is_spread(overlay: str) -> None:
    budgets = objects(overlay, "PodDisruptionBudget")
    for name in SERVICES:
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        template = objects(overlay, "Deployment")[name]["spec"]["template"]
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        keys = {spread["topologyKey"] for spread in template["spec"]["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_services_find_their_pods(overlay: str) -> None:
    pods = [each["spec"]["template"] for each in rendered(overlay) if each["kind"] in {"Deployment", "StatefulSet"}]
    for name, service in objects(overlay, "Service").items():
        selector = service["spec"]["selector"].items()
        found = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        assert len(found) == 1, name
        ports = {port["name"] for port in found[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


def test_secrets_and_settings_that_are_referred_to_are_known(overlay: str) -> None:
    """The names that docs/kubernetes.md lists, and `secrets.sh` writes."""
    known = {"postroom-service", "postroom-store", "postroom-tls", "postroom-dev"}
    settings = set(objects(overlay, "ConfigMap"))
    for name, pod in workloads(overlay):
        for volume in pod.get("volumes", []):
            names = [s["secret"]["name"] for s in volume.get("projected", {}).get("sources", [])]
            names += [volume["secret"]["secretName"]] if "secret" in volume else []
            assert set(names) <= known, name
            assert "postroom-store" not in names or name in {"store-api", "migrate"}, name
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                assert source["configMapRef"]["name"] in settings
            for variable in container.get("env", []):
                assert not variable["name"].endswith(("_TOKEN", "_KEY", "PASSWORD", "DATABASE_URL")) or variable[
                    "name"
                ].endswith("TLS_KEY"), "secrets come from files"


# Who may talk to whom


def matches(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", rule
        wanted = wanted and labels.get(rule["key"]) in rule["values"]
    return wanted


def policies_of(overlay: str, labels: dict[str, str], direction: str) -> list[Object]:
    """The rules for pods with these labels; without any policy everything would be allowed."""
    found = [
        policy["spec"]
        for policy in objects(overlay, "NetworkPolicy").values()
        if matches(policy["spec"]["podSelector"], labels) and direction in policy["spec"]["policyTypes"]
    ]
    assert found, f"no policy of {direction} for {labels}"
    return [rule for spec in found for rule in spec.get(direction.lower(), [])]


def allows(rules: list[Object], peer: str, other: dict[str, str] | None, port: str | int) -> bool:
    """May it, with pods of this namespace that have these labels; None: with anyone outside the cluster?"""
    for rule in rules:
        if "ports" in rule and not any(each["port"] == port for each in rule["ports"]):
            continue
        if peer not in rule:
            return True
        for each in rule[peer]:
            if other is None and "ipBlock" in each:
                return True
            here = "podSelector" in each and "namespaceSelector" not in each
            if other is not None and here and matches(each["podSelector"], other):
                return True
    return False


def labels_of(overlay: str, name: str) -> dict[str, str]:
    for each in rendered(overlay):
        if pod_spec(each) and each["metadata"]["name"] == name:
            return dict(each["spec"]["template"]["metadata"]["labels"])
    raise AssertionError(name)


def test_only_the_store_reaches_postgres_and_s3(overlay: str) -> None:
    dev = overlay.endswith("dev")
    postgres = {"app.kubernetes.io/name": "postgres"} if dev else {"cnpg.io/cluster": "postroom"}
    port = "postgres" if dev else 5432
    for name, _ in workloads(overlay):
        labels = labels_of(overlay, name)
        outgoing = policies_of(overlay, labels, "Egress")
        may = name in {"store-api", "migrate"}
        assert allows(outgoing, "to", postgres, port) is may, name
        assert allows(policies_of(overlay, postgres, "Ingress"), "from", labels, port) is may, name
        if dev:
            s3 = {"app.kubernetes.io/name": "s3"}
            assert allows(outgoing, "to", s3, "s3") is (name == "store-api"), name
            assert allows(policies_of(overlay, s3, "Ingress"), "from", labels, "s3") is (name == "store-api"), name


def test_the_internal_api_is_for_the_services_alone(overlay: str) -> None:
    store = labels_of(overlay, "store-api")
    incoming = policies_of(overlay, store, "Ingress")
    for name, _ in workloads(overlay):
        may = name in {"smtp-in", "smtp-out", "pop3", "imap"}
        assert allows(incoming, "from", labels_of(overlay, name), "http") is may, name
        assert allows(policies_of(overlay, labels_of(overlay, name), "Egress"), "to", store, "http") is may, name
    assert not allows(incoming, "from", None, "http")
    assert not allows(incoming, "from", {"app.kubernetes.io/name": "anything"}, "http")
    # From other namespaces: the controller, to the public port.
    foreign = [rule for rule in incoming if any("namespaceSelector" in each for each in rule["from"])]
    assert {port["port"] for rule in foreign for port in rule["ports"]} == {"public", "admin"}
    for ingress in objects(overlay, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"]["name"] == "store-api-public"
    (port,) = objects(overlay, "Service")["store-api-public"]["spec"]["ports"]
    assert port["targetPort"] == "public"
    assert all(
        service["spec"].get("type", "ClusterIP") == "ClusterIP"
        for name, service in objects(overlay, "Service").items()
        if name not in FRONTENDS
    )


def test_clients_reach_the_mail_ports_and_nothing_else(overlay: str) -> None:
    doors = {
        "smtp-in": {"smtp", "submission", "submissions"},
        "pop3": {"pop3", "pop3s"},
        "imap": {"imap", "imaps"},
    }
    for name, pod in workloads(overlay):
        rules = policies_of(overlay, labels_of(overlay, name), "Ingress")
        ports = {port["name"] for container in pod["containers"] for port in container.get("ports", [])}
        assert {port for port in ports if allows(rules, "from", None, port)} == doors.get(name, set()), name


def test_only_the_relay_sends_mail_outside(overlay: str) -> None:
    for name, _ in workloads(overlay):
        outgoing = policies_of(overlay, labels_of(overlay, name), "Egress")
        assert allows(outgoing, "to", None, 25) is (name == "smtp-out"), name


def test_the_overlay_suits_its_purpose(overlay: str) -> None:
    deployments, scalers = objects(overlay, "Deployment"), objects(overlay, "HorizontalPodAutoscaler")
    if overlay.endswith("dev"):
        assert {each["spec"]["replicas"] for each in deployments.values()} == {1}
        assert objects(overlay, "StatefulSet").keys() == {"postgres", "nats", "s3"}
        return
    assert not objects(overlay, "StatefulSet")
    assert scalers.keys() == set(SERVICES)
    for name in SERVICES:
        assert "replicas" not in deployments[name]["spec"], "the autoscaler decides"
        assert scalers[name]["spec"]["minReplicas"] >= 2
    for name in FRONTENDS:
        service = objects(overlay, "Service")[name]["spec"]
        assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    for each in deployments.values():
        for container in containers(each):
            assert container["image"].startswith("registry.example.org/")


def test_only_smtp_in_asks_filters_wherever_they_run(overlay: str) -> None:
    for name, _ in workloads(overlay):
        outgoing = policies_of(overlay, labels_of(overlay, name), "Egress")
        for kind, port in (("rspamd", 11333), ("clamd", 3310)):
            reached = [
                peer
                for rule in outgoing
                if any(each["port"] == port for each in rule.get("ports", []))
                for peer in rule["to"]
                if peer.get("namespaceSelector") == {} and matches(peer["podSelector"], {"postroom/filter": kind})
            ]
            assert bool(reached) == (name == "smtp-in"), (name, kind)
