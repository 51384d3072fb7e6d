"""A loopback stand-in server, a tiny SavedModel, and certificates made on the spot."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import ipaddress
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

CLASSES = ("bio", "cs", "econ", "engineering", "math", "physics", "stat")


@pytest.fixture(scope="session")
def stand_in() -> ModuleType:
    """The module of the stand-in server, which is no package's."""
    spec = importlib.util.spec_from_file_location(
        "stand_in", Path(__file__).with_name("stand_in.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["stand_in"] = module
    spec.loader.exec_module(module)
    return module


def subjects(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores that depend on nothing but the text's bytes, for servers without TensorFlow."""
    texts = next(iter(inputs.values()))
    raw = np.array([list(hashlib.sha256(text).digest()[: len(CLASSES)]) for text in texts])
    scores = np.exp(raw / 32.0)
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    names = np.array([name.encode() for name in CLASSES], object)
    return {
        "label": names[scores.argmax(1)],
        "scores": scores,
        "classes": np.tile(names, (len(texts), 1)),
    }


@pytest.fixture(scope="session")
def expected() -> Callable[[str | bytes], tuple[str, list[float]]]:
    """Label and scores that the stand-in gives for a text."""

    def answer(text: str | bytes) -> tuple[str, list[float]]:
        encoded = text if isinstance(text, bytes) else text.encode()
        outputs = subjects({"abstract": np.array([encoded], object)})
        return outputs["label"][0].decode(), outputs["scores"][0].tolist()

    return answer


@pytest.fixture(scope="session")
def server_signature() -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """What the stand-in computes."""
    return subjects


@pytest.fixture(scope="session")
def running(stand_in: ModuleType) -> Iterator[Any]:
    server = stand_in.StandIn(stand_in.Model(subjects))
    yield server
    server.stop()


@pytest.fixture
def server(running: Any, stand_in: ModuleType) -> Any:
    """The stand-in, with a clean record and nothing to fail."""
    running.reset(stand_in.Model(subjects))
    return running


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest, server: Any) -> str:
    """Address of the stand-in, once for each interface."""
    return getattr(server, request.param)


@pytest.fixture(scope="session")
def push_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A push folder with two versions of a tiny SavedModel that has the classifier's signature."""
    import tensorflow as tf

    class Tiny(tf.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            generator = np.random.default_rng(seed)
            self.weights = tf.Variable(generator.normal(size=(97, 7)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="abstract")])
        def score(self, abstract: tf.Tensor) -> dict[str, tf.Tensor]:
            buckets = tf.strings.to_hash_bucket_fast(abstract, 97)
            scores = tf.nn.softmax(tf.gather(self.weights, buckets))
            names = tf.constant(CLASSES)
            return {
                "label": tf.gather(names, tf.argmax(scores, 1)),
                "scores": scores,
                "classes": tf.tile(names[tf.newaxis], [tf.shape(scores)[0], 1]),
            }

    folder = tmp_path_factory.mktemp("serving") / "arxiv"
    for version in (9, 10):
        module = Tiny(version)
        tf.saved_model.save(
            module, str(folder / str(version)), signatures={"serving_default": module.score}
        )
    # What a push in progress and a version being removed look like.
    (folder / ".staging-7").mkdir()
    (folder / "11").mkdir()
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An authority, certificates of servers and of a client, and their keys.

    The server's is for localhost, ``elsewhere`` for another host; ``expired`` and ``early`` are not
    valid now. The client's key is there encrypted, too; its pass phrase is "open sesame".
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    now = datetime.datetime.now(datetime.timezone.utc)

    def issue(
        name: str,
        signer: tuple[Any, Any] | None,
        host: str = "localhost",
        address: str = "127.0.0.1",
        starts: int = -1,
    ) -> tuple[Any, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer, signing_key = (signer[0].subject, signer[1]) if signer else (subject, key)
        hosts = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(hours=starts))
            .not_valid_after(now + datetime.timedelta(hours=starts + 2))
            .add_extension(
                x509.BasicConstraints(ca=signer is None, path_length=None), critical=True
            )
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .sign(signing_key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        for suffix, encryption in (
            ("key", serialization.NoEncryption()),
            ("locked", serialization.BestAvailableEncryption(b"open sesame")),
        ):
            (folder / f"{name}.{suffix}").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
                )
            )
        return certificate, key

    authority = issue("authority", None)
    issue("server", authority)
    issue("elsewhere", authority, "serving.example.org", "127.0.0.2")
    issue("expired", authority, starts=-3)
    issue("early", authority, starts=1)
    issue("client", authority)
    issue("stranger", None)
    files = {file.name.replace(".", "_"): file for file in folder.iterdir()}
    return SimpleNamespace(**files)
