"""The worker of kubernetes.yaml, and the Job that is made of the template of docs/scale.md; no cluster is here."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema  # type: ignore[import-untyped]
import prefect
import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.helpers import ROOT

PAGE = (ROOT / "docs/scale.md").read_text()
MANIFESTS = {each["kind"]: each for each in yaml.safe_load_all((ROOT / "kubernetes.yaml").read_text())}
[CONTAINER] = MANIFESTS["Deployment"]["spec"]["template"]["spec"]["containers"]
KNOWN = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"
"""The templates that a server hands out where prefect-kubernetes is not installed."""


def edited(template: dict[str, Any]) -> dict[str, Any]:
    """The template of a pool as the page edits it, which is valid."""
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    [edit] = re.findall(r"\| jq '(.+?)' > pool.json", PAGE, flags=re.DOTALL)
    done = subprocess.run(["jq", edit], input=json.dumps(template), check=True, capture_output=True, text=True)
    pool: dict[str, Any] = json.loads(done.stdout)
    schema = pool["variables"]
    jsonschema.Draft202012Validator.check_schema(schema)
    values = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
    jsonschema.validate({name: value for name, value in values.items() if value is not None}, schema)
    assert (values["namespace"], values["image"]) == ("bss", "REGISTRY/bss:COMMIT")
    return pool


def test_the_worker_is_of_the_version_in_the_lock_and_of_the_names_of_the_page() -> None:
    [locked] = re.findall(r"^prefect==(\S+)$", (ROOT / "requirements.lock").read_text(), flags=re.M)
    assert re.fullmatch(rf"prefecthq/prefect:{re.escape(locked)}-python3\.\d+-kubernetes", CONTAINER["image"])
    assert "prefect " + " ".join(CONTAINER["args"][1:]) == "prefect worker start --pool cluster --type kubernetes"
    assert "--base-job-template pool.json cluster\n" in PAGE and "bss distribute --pool cluster\n" in PAGE
    secret = CONTAINER["envFrom"][0]["secretRef"]["name"]
    assert f"kubectl create secret generic {secret} --namespace bss " in PAGE
    assert {each["metadata"]["namespace"] for each in MANIFESTS.values()} == {"bss"}


def test_the_worker_has_its_role() -> None:
    account, role = (MANIFESTS[kind]["metadata"]["name"] for kind in ("ServiceAccount", "Role"))
    binding = MANIFESTS["RoleBinding"]
    assert MANIFESTS["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == account
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "bss"}]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role)


def test_the_edit_of_the_page_fits_the_template_that_a_server_hands_out() -> None:
    known = json.loads(KNOWN.read_text())["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]
    [container] = edited(known)["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["envFrom"] == CONTAINER["envFrom"]
    assert container["image"] == "{{ image }}"


@pytest.mark.nightly
def test_the_manifests_are_valid() -> None:
    """Needs `pip install kubernetes-validate prefect-kubernetes`, which no lock has."""
    kubernetes = pytest.importorskip("kubernetes_validate.utils")
    worker = pytest.importorskip("prefect_kubernetes.worker")
    from prefect.client.schemas.objects import FlowRun

    for manifest in MANIFESTS.values():
        for version in kubernetes.all_versions():
            kubernetes.validate(manifest, version, strict=True)
    pool = edited(worker.KubernetesWorker.get_default_base_job_template())
    with temporary_settings(
        {PREFECT_API_URL: "http://server:4200/api"}
    ):  # which nothing asks; else one would be started
        configuration = asyncio.run(worker.KubernetesWorkerJobConfiguration.from_template_and_values(pool, {}))
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="seed 0"))
    job = configuration.job_manifest
    for name in ("completions", "parallelism"):  # Prefect has them in the pod; a cluster drops what it does not know
        assert job["spec"]["template"]["spec"].pop(name) == 1
    for version in kubernetes.all_versions():
        kubernetes.validate(job, version, strict=True)
