"""The operator's files: valid by their own schemas, and saying the same as each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from components.infra_validation.budgets import InfraValidationSettings
from components.model_server import BINARY, CONTAINER_USER, IMAGE, port_flags
from pipeline.serving import serve

FOLDER = Path(serve.__file__).parent / "deployment"
IN_CONTAINER = [*port_flags(8500, 8501), *serve.server_flags("/config")]


def load(name: str) -> Any:
    """All documents of a YAML file; one as itself."""
    documents = list(yaml.safe_load_all((FOLDER / name).read_text()))
    return documents if len(documents) > 1 else documents[0]


def message(name: str, fields: list[tuple[str, int, str]], *others: Any) -> Any:
    """A message of TF Serving's whose proto tensorflow-serving-api leaves out."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="tensorflow.serving", syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )  # fmt: skip
    kinds = descriptor_pb2.FieldDescriptorProto
    for title, columns in ((name, fields), *others):
        added = file.message_type.add(name=title)
        for column, number, kind in columns:
            field = added.field.add(name=column, number=number, label=kinds.LABEL_OPTIONAL)
            if kind.startswith("."):
                field.type, field.type_name = kinds.TYPE_MESSAGE, kind
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    return message_factory.MessageFactory(pool).GetPrototype(found)


def parse(name: str, proto: Message) -> Any:
    """A text-format file of the folder."""
    return text_format.Parse((FOLDER / name).read_text(), proto)


def test_compose_file_is_valid_by_the_compose_schema():
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())

    jsonschema.Draft7Validator(schema).validate(load("compose.yaml"))


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.37"])
def test_kubernetes_objects_are_valid(version):
    kinds = []
    for manifest in load("kubernetes.yaml"):
        kubernetes_validate.validate(manifest, version, strict=True)
        kinds.append(manifest["kind"])

    assert kinds == ["Deployment", "Service", "PodDisruptionBudget"]


def test_kustomization_names_files_that_are_there():
    kustomization = load("kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]

    names = [*kustomization["resources"], *generated["files"]]
    assert all((FOLDER / name).is_file() for name in names)
    (volume,) = (
        volume["configMap"]["name"]
        for volume in load("kubernetes.yaml")[0]["spec"]["template"]["spec"]["volumes"]
        if "configMap" in volume
    )
    assert volume == generated["name"]


def test_every_way_to_start_has_one_image_and_the_same_flags():
    compose = load("compose.yaml")["services"]["serving"]
    (container,) = load("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]

    assert compose["image"] == container["image"] == IMAGE
    assert compose["entrypoint"] == container["command"] == [BINARY]
    assert compose["init"] is True
    assert compose["command"] == container["args"] == IN_CONTAINER


def test_image_is_of_the_tensorflow_that_writes_the_model():
    tensorflow = metadata.version("tensorflow").split(".")[:2]
    assert IMAGE.split(":")[1].split(".")[:2] == tensorflow


def test_containers_are_not_root_and_write_nowhere():
    pod = load("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == [
        "tmp"
    ]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()

    for service in load("compose.yaml")["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(mount["read_only"] for mount in service["volumes"])
    assert load("compose.yaml")["services"]["serving"]["user"] == CONTAINER_USER


def test_a_model_within_the_default_budget_fits_the_containers_memory():
    compose = load("compose.yaml")["services"]["serving"]["deploy"]["resources"]["limits"]
    (container,) = load("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]
    budget = InfraValidationSettings().max_memory_mib

    # Compose's G, like Kubernetes' Gi, is of 1,024 MiB.
    assert budget <= int(compose["memory"].removesuffix("G")) * 1024
    assert budget <= int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024


def test_models_config_serves_the_newest_version():
    config = parse("models.config", model_server_config_pb2.ModelServerConfig())

    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("arxiv", "/models/arxiv")
    assert model.model_version_policy.latest.num_versions == 1


def test_batching_and_monitoring_configs_parse():
    # Fields as in session_bundle_config.proto and monitoring_config.proto of TF Serving.
    integer = ".google.protobuf.Int64Value"
    batching = message(
        "BatchingParameters",
        [
            ("max_batch_size", 1, integer),
            ("batch_timeout_micros", 2, integer),
            ("max_enqueued_batches", 3, integer),
            ("num_batch_threads", 4, integer),
            ("thread_pool_name", 5, ".google.protobuf.StringValue"),
        ],
    )
    parameters = parse("batching.config", batching())
    # The infrastructure check and the client send up to 512 rows at a time.
    assert parameters.max_batch_size.value >= 512
    cores = load("compose.yaml")["services"]["serving"]["deploy"]["resources"]["limits"]["cpus"]
    assert parameters.num_batch_threads.value == int(cores)

    monitoring = message(
        "MonitoringConfig",
        [("prometheus_config", 1, ".tensorflow.serving.PrometheusConfig")],
        ("PrometheusConfig", [("enable", 1, "bool"), ("path", 2, "string")]),
    )
    prometheus = parse("monitoring.config", monitoring()).prometheus_config
    assert prometheus.enable
    (scrape,) = load("prometheus.yaml")["scrape_configs"]
    pod = load("kubernetes.yaml")[0]["spec"]["template"]["metadata"]["annotations"]
    assert scrape["metrics_path"] == pod["prometheus.io/path"] == prometheus.path


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on PATH")
@pytest.mark.parametrize(("behaviour", "healthy"), [("well", True), ("loads", False)])
def test_health_check_of_the_container_tells_loaded_from_loading(
    tmp_path, push_folder, ports, behaviour, healthy
):
    check = load("compose.yaml")["services"]["serving"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "bash", "-c"]
    script = check[3].replace("$$", "$").replace("8501", str(ports[1]))
    script = script.replace("${MODEL_NAME:-arxiv}", "arxiv")
    for name in ("batching.config", "monitoring.config"):
        shutil.copy(FOLDER / name, tmp_path)
    text = (FOLDER / "models.config").read_text().replace("/models/arxiv", str(push_folder))
    (tmp_path / "models.config").write_text(text)
    server = subprocess.Popen(
        [
            *(sys.executable, str(Path(__file__).with_name("fake_model_server.py"))),
            *port_flags(*ports),
            *serve.server_flags(str(tmp_path)),
        ],
        env={"FAKE_SERVER": behaviour},
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        answers = [
            subprocess.run(["bash", "-c", script], check=False, timeout=20).returncode == 0
            for _ in range(20 if healthy else 1)
        ]
        assert any(answers) is healthy
    finally:
        server.kill()
        server.wait()
