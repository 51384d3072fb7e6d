"""Our own message definitions are, on the wire, those of tensorflow-serving-api."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from pipeline.client.transports.grpc import read_tensor, string_tensor
from pipeline.client.transports.tf_serving import messages


def test_messages_are_what_protoc_makes_of_the_definitions(repository, tmp_path):
    folder, made = repository / "pipeline/client/transports", tmp_path / "made.binpb"
    protoc = ["-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={made}", "tf_serving.proto"]
    subprocess.run([sys.executable, *protoc], cwd=folder, check=True)
    assert made.read_bytes() == (folder / "tf_serving.binpb").read_bytes(), "run make protos"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=4), st.integers(0, 2**63 - 1), st.text())
def test_generated_messages_read_our_request(texts, version, name):
    ours = messages.PredictRequest(
        model_spec={"name": name, "version": {"value": version}, "signature_name": "s"},
        inputs={"abstract": string_tensor(texts)},
        output_filter=["label"],
    )
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())

    assert theirs.model_spec.name == name
    assert theirs.model_spec.version.value == version
    assert theirs.model_spec.signature_name == "s"
    assert list(theirs.output_filter) == ["label"]
    assert tf.make_ndarray(theirs.inputs["abstract"]).tolist() == texts


def test_generated_messages_read_our_version_label():
    ours = messages.PredictRequest(model_spec={"name": "m", "version_label": "canary"})
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())

    assert theirs.model_spec.version_label == "canary"
    assert theirs.model_spec.WhichOneof("version_choice") == "version_label"


def response(**tensors):
    theirs = predict_pb2.PredictResponse()
    for name, tensor in tensors.items():
        theirs.outputs[name].CopyFrom(tensor)
    return messages.PredictResponse.FromString(theirs.SerializeToString()).outputs


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), max_size=4))
def test_we_read_a_generated_response_in_both_encodings(scores):
    array = np.array(scores, np.float32).reshape(-1, 3)
    typed = tf.make_tensor_proto(np.zeros_like(array))
    typed.ClearField("tensor_content")
    typed.ClearField("float_val")
    typed.float_val.extend(array.ravel().tolist())
    raw = tf.make_tensor_proto(array)
    raw.ClearField("float_val")
    raw.tensor_content = array.tobytes()

    for tensor in response(typed=typed, raw=raw).values():
        assert read_tensor(tensor) == array.tolist()


def test_a_single_value_stands_for_all():
    constant = tf.make_tensor_proto(np.float32(0.25), shape=[2, 2])

    tensor = response(constant=constant)["constant"]

    assert list(tensor.float_val) == [0.25]
    assert read_tensor(tensor) == [[0.25, 0.25], [0.25, 0.25]]


def test_wrong_types_shapes_and_counts_are_refused():
    tensors = response(
        integers=tf.make_tensor_proto([1, 2]),
        scalar=tf.make_tensor_proto(b"a"),
        strings=tf.make_tensor_proto([b"a", b"b"]),
    )
    with pytest.raises(ValueError, match="type 3, neither float32 nor string"):
        read_tensor(tensors["integers"])
    with pytest.raises(ValueError, match=r"shape \[\], neither \[n\] nor \[n, k\]"):
        read_tensor(tensors["scalar"])
    tensors["strings"].string_val.append(b"c")
    with pytest.raises(ValueError, match=r"3 values for shape \[2\]"):
        read_tensor(tensors["strings"])


def test_we_read_a_generated_status():
    theirs = get_model_status_pb2.GetModelStatusResponse()
    theirs.model_version_status.add(version=2**40, state="LOADING")
    theirs.model_version_status[0].status.error_message = "no memory"
    ours = messages.GetModelStatusResponse.FromString(theirs.SerializeToString())

    (one,) = ours.model_version_status
    assert (one.version, one.status.error_message) == (2**40, "no memory")
    states = messages.ModelVersionStatus.State
    assert states.Name(one.state) == "LOADING"
    assert states.items() == get_model_status_pb2.ModelVersionStatus.State.items()
