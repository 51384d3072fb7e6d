"""The three ways of asking give the same answers and the same kinds of errors."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.errors import UserError
from pipeline.client import (
    BadInputError,
    ClientError,
    DeniedError,
    ModelNotLoadedError,
    Options,
    ServerError,
    TextTooLongError,
    UnavailableError,
    VersionStatus,
    WrongSignatureError,
    connect,
    open_model,
)
from pipeline.client.texts import MAX_BATCH_BYTES, batches
from pipeline.client.transports import server as server_module
from pipeline.client.types import parse_address

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
TEXTS = [
    "We prove that every smooth projective curve is a curve.",
    "",
    'Ünïcödé, 数学, \U0001f600 and a NUL \x00 in "quotes" \\ \n\t',
    b"\xff\xfe not UTF-8 \x80",
    '{"b64": "AAAA"}',
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- answers --------------------------------------------------------------------------------------


def test_answers_are_the_models_in_the_order_of_the_texts(url, expected):
    with connect(url) as client:
        answers = client.classify(TEXTS)

    for text, answer in zip(TEXTS, answers, strict=True):
        label, scores = expected(text)
        assert answer.label == label
        assert list(answer.scores.values()) == scores
        assert list(answer.scores) == [
            "bio",
            "cs",
            "econ",
            "engineering",
            "math",
            "physics",
            "stat",
        ]
        assert answer.score == max(scores)


def test_texts_reach_the_server_byte_by_byte(url, server):
    with connect(url) as client:
        client.classify(TEXTS)

    assert server.requests == [[t if isinstance(t, bytes) else t.encode() for t in TEXTS]]


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40)), max_size=6))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_answered_alike_through_rest_and_grpc(server, texts):
    with connect(server.rest) as rest, connect(server.grpc) as rpc:
        assert rest.classify(texts) == rpc.classify(texts)


def test_lone_surrogates_go_as_the_bytes_they_were_read_from(url, server):
    with connect(url) as client:
        client.classify([b"caf\xe9".decode("utf-8", "surrogateescape"), "\ud800"])

    assert server.requests == [[b"caf\xe9", b"\xed\xa0\x80"]]


def test_local_rest_and_grpc_agree_on_a_saved_model(server, stand_in, push_folder):
    server.reset(stand_in.Model(stand_in.load(push_folder / "10")))
    with (
        open_model(push_folder) as local,
        connect(server.rest) as rest,
        connect(server.grpc) as rpc,
    ):
        alone = local.classify(TEXTS)
        assert rest.classify(TEXTS) == alone
        assert rpc.classify(TEXTS) == alone
    assert all(sum(answer.scores.values()) == pytest.approx(1, abs=1e-6) for answer in alone)
    assert len({answer.label for answer in alone}) > 1


def test_no_texts_make_no_request(url, server):
    with connect(url) as client:
        assert client.classify([]) == []
    assert server.requests == []


# --- batches --------------------------------------------------------------------------------------


def test_batches_have_the_asked_size_and_keep_the_order(url, server, expected):
    texts = [f"abstract {i}" for i in range(10)]
    with connect(url, Options(batch_size=4)) as client:
        answers = client.classify(texts)

    assert [len(request) for request in server.requests] == [4, 4, 2]
    assert [answer.label for answer in answers] == [expected(text)[0] for text in texts]


@settings(deadline=None)
@given(st.lists(st.integers(0, MAX_BATCH_BYTES * 2), max_size=12), st.integers(1, 5))
def test_batches_lose_nothing_and_stay_in_their_limits(lengths, size):
    made = list(batches(lengths, size, lambda length: length))

    assert [length for batch in made for length in batch] == lengths
    assert all(0 < len(batch) <= size for batch in made)
    assert all(len(batch) == 1 or sum(batch) <= MAX_BATCH_BYTES for batch in made)


def test_stream_takes_no_more_texts_than_a_batch_ahead(url):
    taken = []

    def texts():
        for i in range(100):
            taken.append(i)
            yield f"abstract {i}"

    with connect(url, Options(batch_size=8)) as client:
        next(client.stream(texts()))
    assert len(taken) == 8


def test_what_precedes_an_error_is_answered_first(url, expected):
    def texts():
        yield from ("a", "b")
        raise BadInputError("f, row 3: broken")

    with connect(url) as client:
        answers = client.stream(texts())
        assert [next(answers).label, next(answers).label] == [expected(t)[0] for t in "ab"]
        with pytest.raises(BadInputError, match="row 3"):
            next(answers)


# --- retries and deadline -------------------------------------------------------------------------


def test_transient_failures_are_tried_again(url, server, stand_in, expected):
    server.fail(
        stand_in.Failure(UNAVAILABLE, "The batch scheduling queue is full"),
        stand_in.Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests"),
    )
    with connect(url) as client:
        (answer,) = client.classify(["abstract"])

    assert answer.label == expected("abstract")[0]
    assert len(server.headers) == 3


def far_away(server_port, delay):
    """Port that leads to the server's, with every byte that many seconds late, both ways."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, target):
        late = queue.SimpleQueue()
        threading.Thread(target=deliver, args=(late, target), daemon=True).start()
        data = b"x"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            late.put((time.monotonic() + delay, data))

    def deliver(late, target):
        with contextlib.suppress(OSError):
            while True:
                due, data = late.get()
                time.sleep(max(due - time.monotonic(), 0))
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", server_port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def test_a_far_server_is_reached_within_the_deadline(url, server, expected):
    scheme, port = url.split("://")[0], int(url.rsplit(":", 1)[1])
    with (
        far_away(port, 0.4) as listener,
        connect(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", Options(retries=0)) as client,
    ):
        (answer,) = client.classify(["abstract"])
    assert answer.label == expected("abstract")[0]
    assert len(server.headers) == 1


def test_retries_end(url, server, stand_in):
    server.fail(*[stand_in.Failure(UNAVAILABLE, "queue is full")] * 5)
    with (
        connect(url, Options(retries=2)) as client,
        pytest.raises(UnavailableError, match="queue is full"),
    ):
        client.classify(["abstract"])
    assert len(server.headers) == 3


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
def test_permanent_failures_are_not_tried_again(url, server, stand_in, code):
    server.fail(stand_in.Failure(code, "broken"))
    with connect(url) as client, pytest.raises(ServerError, match="broken"):
        client.classify(["abstract"])
    assert len(server.headers) == 1


def test_dropped_connection_is_made_again(server, stand_in, expected):
    with connect(server.rest) as client:
        client.classify(["first"])
        server.fail(stand_in.Failure(drop=True))
        (answer,) = client.classify(["abstract"])

    assert answer.label == expected("abstract")[0]


def test_server_that_comes_up_late_is_found(stand_in, expected, server_signature):
    port = free_port()
    late = []

    def start():
        time.sleep(0.3)
        late.append(stand_in.StandIn(stand_in.Model(server_signature), grpc_port=port))

    starter = threading.Thread(target=start)
    starter.start()
    try:
        with connect(f"grpc://127.0.0.1:{port}", Options(retries=50)) as client:
            (answer,) = client.classify(["abstract"])
    finally:
        starter.join()
        late[0].stop()
    assert answer.label == expected("abstract")[0]


def test_slow_server_is_left_at_the_deadline(url, server, stand_in):
    server.fail(stand_in.Failure(delay=2.0))
    with (
        connect(url, Options(deadline=0.3)) as client,
        pytest.raises(UnavailableError, match=r"no answer within the deadline of 0\.3 s"),
    ):
        client.classify(["abstract"])


def test_server_that_trickles_is_left_at_the_deadline(server, stand_in):
    server.fail(stand_in.Failure(body=b"{" + b" " * 20, trickle=0.05))
    # Each byte comes well within the deadline, the last one after it.
    with (
        connect(server.rest, Options(deadline=0.3)) as client,
        pytest.raises(UnavailableError, match="deadline"),
    ):
        client.classify(["abstract"])


class Clock:
    """A clock that only pauses move; replaces the module ``time``."""

    def __init__(self):
        self.now = 0.0
        self.pauses = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(server_module, "time", clock)
    random.seed(0)
    return clock


def failing(clock, *errors, last=None):
    """A request that raises the errors one by one, then the last one for ever or answers."""
    left, seconds = list(errors), []

    def send(remaining):
        seconds.append(remaining)
        clock.now += 0.001
        if left or last:
            raise left.pop(0) if left else last
        return "answer"

    return send, seconds


def asked(send, deadline, retries=None):
    with connect("http://127.0.0.1:1", Options(deadline=deadline, retries=retries)) as client:
        return client._ask(send)


def busy(retry_after=0.0):
    return UnavailableError("busy", transient=True, retry_after=retry_after)


def unreached():
    return UnavailableError("refused", transient=True)


def test_the_servers_wish_for_a_pause_is_kept(clock):
    send, _ = failing(clock, busy(7.0), busy(3.0))

    assert asked(send, 30) == "answer"
    # The backoff on top keeps clients apart that were told the same.
    assert 7.1 <= clock.pauses[0] <= 7.2
    assert 3.1 <= clock.pauses[1] <= 3.4


@pytest.mark.parametrize("pause", [60.0, float("9" * 400)])
def test_no_pause_goes_beyond_the_deadline(clock, pause):
    send, _ = failing(clock, busy(pause))

    with pytest.raises(UnavailableError, match="busy"):
        asked(send, 30, 5)
    assert clock.pauses == []


def test_pauses_are_random_and_grow(clock):
    send, seconds = failing(clock, *[busy()] * 8)

    asked(send, 1000, 8)

    limits = [min(0.2 * 2**i, 5.0) for i in range(8)]
    assert all(0.1 <= pause <= limit for pause, limit in zip(clock.pauses, limits, strict=True))
    assert len(set(clock.pauses)) == 8
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] == 1000


@pytest.mark.parametrize(
    ("error", "retries", "deadline", "fewest", "most"),
    [
        # A server that says "at once" in vain is not asked in a hot loop.
        (busy(0.0), None, 4, 5, 20),
        (busy(0.0), 10_000, 4, 5, 20),
        (busy(3.0), None, 4, 2, 2),
        # One that is overloaded is asked until the deadline, however long that is.
        (busy(0.0), None, 30, 10, 40),
        (busy(0.0), None, 600, 100, 300),
        (busy(0.0), 2, 30, 3, 3),
        # One that nobody reaches is given up soon, unless it is said otherwise.
        (unreached(), None, 30, 4, 4),
        (unreached(), 0, 30, 1, 1),
        (unreached(), 9, 30, 10, 10),
        (ServerError("broken"), None, 30, 1, 1),
    ],
)
def test_how_often_a_server_is_asked(clock, error, retries, deadline, fewest, most):
    send, seconds = failing(clock, last=error)

    with pytest.raises(ClientError, match=str(error)):
        asked(send, deadline, retries)
    assert fewest <= len(seconds) <= most
    assert clock.now < deadline
    if retries is None and error.retry_after is not None:
        # No shorter pause would have left time for an answer.
        assert clock.now > deadline - 0.3 - error.retry_after


@pytest.mark.slow
def test_twelve_clients_of_a_server_that_takes_four(url, server, stand_in, expected):
    sound, free = server.model.signature, threading.Semaphore(4)

    def taken(inputs):
        if not free.acquire(blocking=False):
            raise stand_in.Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests")
        try:
            time.sleep(0.5)
            return sound(inputs)
        finally:
            free.release()

    server.model.signature = taken

    def ask(text):
        with connect(url) as client:
            return client.classify([text])[0].label

    texts = [f"abstract {i}" for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        started = time.monotonic()
        assert list(pool.map(ask, texts)) == [expected(text)[0] for text in texts]
    assert time.monotonic() - started < 30


def test_requests_in_flight_are_bounded(url, server):
    sound, lock, together, most = server.model.signature, threading.Lock(), [0], [0]

    def counted(inputs):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.05)
        with lock:
            together[0] -= 1
        return sound(inputs)

    server.model.signature = counted
    with connect(url) as client:
        client._slots = threading.BoundedSemaphore(2)
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(lambda text: client.classify([text]), "abcdefgh"))) == 8
    assert most[0] == 2


def test_retry_after_header_is_read(server, stand_in):
    server.fail(
        stand_in.Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", headers={"Retry-After": "60"}
        )
    )
    with (
        connect(server.rest, Options(deadline=5)) as client,
        pytest.raises(UnavailableError, match="HTTP 429 slow down"),
    ):
        client.classify(["abstract"])
    assert len(server.headers) == 1


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_listens(scheme):
    address = f"{scheme}://127.0.0.1:{free_port()}"
    with (
        connect(address, Options(retries=0)) as client,
        pytest.raises(UnavailableError, match="not reachable") as failed,
    ):
        client.classify(["abstract"])
    assert "\n" not in str(failed.value)
    assert address in str(failed.value)


def test_unknown_model_and_version(url):
    for options in (Options(model_name="other"), Options(version=3)):
        with (
            connect(url, options) as client,
            pytest.raises(ModelNotLoadedError, match="Servable not found for request"),
        ):
            client.classify(["abstract"])
    with (
        connect(url, Options(model_name="other")) as client,
        pytest.raises(ModelNotLoadedError, match="Could not find any versions of model other"),
    ):
        client.status()
    with (
        connect(url, Options(version_label="canary")) as client,
        pytest.raises(ModelNotLoadedError, match="Unrecognized servable version label: canary"),
    ):
        client.classify(["abstract"])


def test_version_and_label_choose_what_answers(url, server):
    server.model.states = {1: "AVAILABLE", 2: "AVAILABLE"}
    server.model.labels = {"stable": 1}
    for options in (Options(version=1), Options(version_label="stable"), Options()):
        with connect(url, options) as client:
            assert len(client.classify(["abstract"])) == 1
    assert server.versions == [1, 1, 2]


@pytest.mark.parametrize("change", [{"outputs": ("scores",)}, {"outputs": ("label", "scores")}])
def test_other_signatures_are_told_apart(url, server, change):
    for name, value in change.items():
        setattr(server.model, name, value)
    with connect(url) as client, pytest.raises(WrongSignatureError):
        client.classify(["abstract"])


@pytest.mark.parametrize(
    "broken",
    [
        {"label": np.array([b"math"], object)},
        {"scores": np.zeros((2, 3), np.float32)},
        {"scores": np.array([b"a", b"b"], object)},
        {"label": np.array([b"unknown", b"math"], object)},
    ],
    ids=["too few labels", "too few scores", "scores are strings", "label is no class"],
)
def test_answers_that_do_not_fit_are_refused(url, server, broken):
    sound = server.model.signature
    server.model.signature = lambda inputs: {**sound(inputs), **broken}
    with connect(url) as client, pytest.raises(WrongSignatureError):
        client.classify(["one", "two"])


def test_too_long_text_is_named_and_not_sent(url, server):
    with (
        connect(url, Options(max_text_bytes=10)) as client,
        pytest.raises(
            TextTooLongError, match="text 2: the text has 11 bytes, more than the limit of 10"
        ),
    ):
        client.classify(["0123456789", "01234567890"])
    assert server.requests == [[b"0123456789"]]


def test_servers_own_limit_is_a_too_long_text(server, stand_in):
    server.fail(
        stand_in.Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"
        )
    )
    with connect(server.grpc) as client, pytest.raises(TextTooLongError, match="larger than max"):
        client.classify(["abstract"])


def test_more_rows_than_the_server_takes_in_a_call_is_a_too_large_request(url, server, stand_in):
    server.fail(
        stand_in.Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Task size 2000 is larger than maximum input batch size 1024",
        )
    )
    with connect(url) as client, pytest.raises(TextTooLongError, match="batch size 1024"):
        client.classify(["abstract"])


def test_a_server_that_is_no_tf_serving(server, stand_in):
    server.fail(
        stand_in.Failure(body=b"<html>hello</html>"),
        stand_in.Failure(grpc.StatusCode.NOT_FOUND, body=b"<html>not found</html>"),
        stand_in.Failure(body=b'{"outputs": [1, 2]}'),
        stand_in.Failure(body=b'{"model_version_status": [{"version": "x"}]}'),
    )
    with connect(server.rest) as client:
        with pytest.raises(ServerError, match="not JSON"):
            client.classify(["abstract"])
        with pytest.raises(ServerError, match="HTTP 404"):
            client.classify(["abstract"])
        with pytest.raises(WrongSignatureError):
            client.classify(["abstract"])
        with pytest.raises(ServerError, match="not a model status"):
            client.status()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, ServerError), (403, DeniedError), (413, TextTooLongError), (502, UnavailableError)],
)
def test_what_a_proxy_answers(server, stand_in, status, kind):
    server.fail(*[stand_in.Failure(status=status, body=b"<html></html>")] * 2)
    with connect(server.rest, Options(retries=1)) as client, pytest.raises(kind) as failed:
        client.classify(["abstract"])
    assert type(failed.value) is kind
    assert len(server.headers) == (2 if kind is UnavailableError else 1)


def test_the_other_interfaces_port_is_one_line(server):
    for url in (f"http://127.0.0.1:{server.grpc_port}", f"grpc://127.0.0.1:{server.rest_port}"):
        with (
            connect(url, Options(retries=0, deadline=5)) as client,
            pytest.raises(ClientError) as failed,
        ):
            client.classify(["abstract"])
        assert "\n" not in str(failed.value)


def test_control_characters_of_a_servers_message_are_dropped(url, server, stand_in):
    server.fail(stand_in.Failure(grpc.StatusCode.INTERNAL, "line 1\nline 2 \x1b[31mred"))
    with connect(url) as client, pytest.raises(ServerError) as failed:
        client.classify(["abstract"])
    assert str(failed.value).isprintable()


# --- status ---------------------------------------------------------------------------------------


def test_status_lists_versions_newest_first(url, server):
    server.model.states = {7: "END", 9: "AVAILABLE", 10: "LOADING"}
    with connect(url) as client:
        assert client.status() == [
            VersionStatus(10, "LOADING"),
            VersionStatus(9, "AVAILABLE"),
            VersionStatus(7, "END"),
        ]


def test_no_proxy_is_asked_for_this_machine(url, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with connect(url, Options(retries=0)) as client:
        assert len(client.classify(["abstract"])) == 1


# --- credentials and TLS --------------------------------------------------------------------------


def test_token_and_headers_are_sent(url, server):
    server.required = ("authorization", "Bearer secret")
    with connect(url, Options(token="secret", headers={"X-Tenant": "a"})) as client:
        client.classify(["abstract"])
        client.status()
    assert [headers["x-tenant"] for headers in server.headers] == ["a", "a"]

    with connect(url, Options(token="wrong")) as client, pytest.raises(DeniedError) as refused:
        client.classify(["abstract"])
    assert "wrong" not in str(refused.value)


def test_secrets_are_in_no_representation():
    options = Options(token="hush", headers={"x-key": "quiet"})
    assert "hush" not in repr(options)
    assert "quiet" not in repr(options)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_credentials_do_not_cross_the_network_in_plaintext_unless_allowed(scheme):
    remote = f"{scheme}://serving.example.org:1"
    with pytest.raises(UserError, match="plaintext"):
        connect(remote, Options(token="secret"))
    connect(remote, Options(token="secret", insecure=True)).close()
    connect(remote).close()
    connect(f"{scheme}://127.0.0.9:1", Options(token="secret")).close()


@pytest.fixture(scope="module", params=["server only", "mutual"])
def tls_server(request, stand_in, certificates, server_signature):
    authority = certificates.authority_pem if request.param == "mutual" else None
    running = stand_in.StandIn(
        stand_in.Model(server_signature),
        (certificates.server_pem, certificates.server_key, authority),
    )
    yield running, authority is not None
    running.stop()


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_tls(tls_server, certificates, interface):
    running, mutual = tls_server
    address = getattr(running, interface)
    own = {"cert_file": certificates.client_pem, "key_file": certificates.client_key}
    trusted = Options(ca_file=certificates.authority_pem, **(own if mutual else {}))
    with connect(address, trusted) as client:
        assert len(client.classify(["abstract"])) == 1

    with (
        connect(address, Options(ca_file=certificates.stranger_pem)) as client,
        pytest.raises(DeniedError, match="certificate is not trusted"),
    ):
        client.classify(["abstract"])


@pytest.mark.parametrize("own", ["none", "a stranger's"])
@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_server_that_asks_for_another_certificate(tls_server, certificates, interface, own):
    running, mutual = tls_server
    pair = {"cert_file": certificates.stranger_pem, "key_file": certificates.stranger_key}
    options = Options(
        ca_file=certificates.authority_pem, retries=0, **(pair if own != "none" else {})
    )
    with connect(getattr(running, interface), options) as client:
        if not mutual:
            assert len(client.classify(["abstract"])) == 1
            return
        with pytest.raises(ClientError, match=r"another (client )?certificate") as refused:
            client.classify(["abstract"])
    assert isinstance(refused.value, DeniedError if interface == "rest" else UnavailableError)


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_tls_server_is_not_asked_in_plaintext(tls_server, interface):
    running, _ = tls_server
    plain = getattr(running, interface).replace("s://", "://")
    with connect(plain, Options(retries=0, deadline=5)) as client, pytest.raises(UnavailableError):
        client.classify(["abstract"])


def test_certificate_files_are_checked_before_a_request(tmp_path, certificates):
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for scheme in ("https", "grpcs"):
        for file in (broken, tmp_path / "absent.pem"):
            with pytest.raises(UserError, match=file.name):
                connect(f"{scheme}://localhost:1", Options(ca_file=file))
        foreign = Options(cert_file=certificates.client_pem, key_file=certificates.server_key)
        for options in (foreign, Options(cert_file=certificates.client_pem)):
            with pytest.raises(UserError, match=r"client\.pem.*certificate and its key"):
                connect(f"{scheme}://localhost:1", options)
    with pytest.raises(UserError, match="need https:// or grpcs://"):
        connect("http://localhost:1", Options(ca_file=certificates.authority_pem))


# --- addresses and options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown", "loopback"),
    [
        ("http://127.0.0.1:8501", "http://127.0.0.1:8501", True),
        ("https://example.org/models/", "https://example.org/models", False),
        ("grpc://localhost", "grpc://localhost:8500", True),
        ("grpcs://[::1]:9", "grpcs://[::1]:9", True),
        ("grpc://10.0.0.1:9", "grpc://10.0.0.1:9", False),
    ],
)
def test_addresses(url, shown, loopback):
    address = parse_address(url)
    assert str(address) == shown
    assert address.loopback == loopback


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8500",
        "ftp://host",
        "http://",
        "http://host:99999",
        "grpc://host/path",
        "http://host/v1/models/arxiv:predict",
        "http://[::1",
        "http://[v1.a]",
        "http://a..b",
        "grpc://" + "a" * 64,
        "http://a\x00b",
        "http://host:0",
        "",
    ],
)
def test_other_addresses_are_refused_in_one_line(url):
    with pytest.raises(UserError, match="address") as refused:
        parse_address(url)
    assert "\n" not in str(refused.value)


def test_a_password_in_the_address_is_not_repeated():
    with pytest.raises(UserError) as refused:
        parse_address("http://me:hush@host")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"retries": -1},
        {"model_name": "a/b"},
        {"model_name": ""},
        {"version": -1},
        {"version": 1, "version_label": "stable"},
        {"key_file": "key.pem"},
        {"headers": {"x": "a\nb"}},
        {"headers": {"x y": "a"}},
        {"headers": {":path": "/"}},
        {"headers": {"": "a"}},
        {"headers": {"x-bin": "a"}},
        {"deadline": 1e300},
        {"token": "é"},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(UserError):
        Options(**options)


# --- folders --------------------------------------------------------------------------------------


def test_newest_complete_version_of_a_push_folder_answers(push_folder):
    with open_model(push_folder) as newest, open_model(push_folder / "10") as tenth:
        assert newest.folder == push_folder / "10"
        assert newest.classify(TEXTS) == tenth.classify(TEXTS)
        assert newest.status() == [VersionStatus(10, "ON_DISK"), VersionStatus(9, "ON_DISK")]
        assert tenth.status() == [VersionStatus(10, "ON_DISK")]
    with open_model(push_folder, Options(version=9)) as ninth:
        assert ninth.folder == push_folder / "9"


def test_folders_without_a_model(push_folder, tmp_path):
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(ModelNotLoadedError, match="no such folder"):
        open_model(tmp_path / "absent")
    with pytest.raises(ModelNotLoadedError, match="no SavedModel and no versions"):
        open_model(push_folder / "11")
    with pytest.raises(ModelNotLoadedError, match="no version 3; there are 9, 10"):
        open_model(push_folder, Options(version=3))
    with pytest.raises(ModelNotLoadedError, match="the model is not loaded"):
        open_model(tmp_path)


def flip_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


VARIABLES = "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        (VARIABLES, flip_last_byte, "was changed after the push"),
        (VARIABLES, lambda path: os.truncate(path, 9), "has 9 bytes of "),
        ("variables/variables.index", lambda path: os.truncate(path, 9), "is cut off or damaged"),
        ("fingerprint.pb", flip_last_byte, "was changed after the push"),
    ],
)
def test_version_that_is_not_as_it_was_pushed_is_not_used(
    push_folder, tmp_path, name, damage, problem
):
    version = tmp_path / "arxiv" / "10"
    shutil.copytree(push_folder / "10", version)
    Manifest.of(version).write(version / MANIFEST)
    with open_model(version.parent) as whole, open_model(push_folder / "10") as original:
        assert whole.classify(TEXTS) == original.classify(TEXTS)
    damage(version / name)

    with pytest.raises(ModelNotLoadedError) as refused:
        open_model(version.parent)
    assert str(refused.value).startswith(f"{version}: the model is not loaded: {name} {problem}")


def test_model_folder_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(ModelNotLoadedError, match=r"cannot be read \(File name too long\)$"):
        open_model(tmp_path / ("x" * 300))


def test_folder_with_another_model(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x})
    signature = module.double.get_concrete_function(tf.TensorSpec([None], tf.float32, name="x"))
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": signature})
    tf.saved_model.save(module, str(tmp_path / "2"), signatures={"other": signature})
    with pytest.raises(WrongSignatureError, match=r"takes \['x'\]"):
        open_model(tmp_path / "1")
    with pytest.raises(WrongSignatureError, match="no signature 'serving_default'"):
        open_model(tmp_path / "2")


# --- the real server ------------------------------------------------------------------------------


@pytest.mark.skipif(
    shutil.which("tensorflow_model_server") is None, reason="no tensorflow_model_server on PATH"
)
def test_real_server_answers_as_the_local_model(push_folder, tmp_path):
    served = tmp_path / "arxiv"
    served.mkdir()
    shutil.copytree(push_folder / "10", served / "10")
    ports = free_port(), free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "tensorflow_model_server",
                f"--port={ports[0]}",
                f"--rest_api_port={ports[1]}",
                "--model_name=arxiv",
                f"--model_base_path={served}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            patient = Options(retries=200, deadline=60)
            urls = (f"grpc://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
            with open_model(push_folder) as local:
                alone = local.classify(TEXTS)
            for url in urls:
                with connect(url, patient) as client:
                    _wait_until_available(client)
                    assert client.classify(TEXTS) == alone
                with (
                    connect(url, Options(model_name="other")) as client,
                    pytest.raises(ModelNotLoadedError),
                ):
                    client.classify(TEXTS)
        finally:
            process.kill()
            process.wait()


def _wait_until_available(client) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            if any(one.state == "AVAILABLE" for one in client.status()):
                return
        except ModelNotLoadedError:
            pass
        time.sleep(0.1)
    pytest.fail("the server did not load the model within a minute")


@pytest.mark.parametrize("names", [("review",), ("title", "body")])
def test_a_model_of_other_texts_is_asked_by_its_own_inputs(
    url, server, stand_in, expected, names: tuple[str, ...]
) -> None:
    def joined(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert set(inputs) == set(names)
        texts = [b"".join(parts) for parts in zip(*inputs.values(), strict=True)]
        return server.plain({"text": np.array(texts, object)})

    server.plain = server.model.signature
    server.reset(stand_in.Model(joined, inputs=names))
    with connect(url) as client:
        for text in ("one", "two"):
            (found,) = client.classify([text])
            label, scores = expected(text)
            assert found.label == label
            assert list(found.scores.values()) == pytest.approx(scores)
    # The wrong name is tried once, and the metadata are asked for once.
    assert len(server.headers) == 4


def test_threads_that_learn_the_inputs_together_are_all_answered(
    url, server, stand_in, server_signature
) -> None:
    def slow(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(0.02)
        return server_signature(inputs)

    server.reset(stand_in.Model(slow, inputs=("review",)))
    with connect(url) as client, ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda n: (time.sleep(n / 100), client.classify([str(n)])), range(8))
        )
    assert len(found) == 8
