"""Hostile servers, proxies and certificates cost the client one line, little time and memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from components.errors import UserError
from pipeline.client import (
    ClientError,
    DeniedError,
    Options,
    ServerError,
    UnavailableError,
    WrongSignatureError,
    connect,
)

GOOD = {"label": ["a"], "scores": [[0.75, 0.25]], "classes": [["a", "b"]]}
QUICK = Options(deadline=2, retries=0)
MIB = 2**20


class RawServer:
    """Answers each HTTP request with bytes as they are; counts requests and bytes."""

    def __init__(self, reply=b"", tls=None, pause=0.0):
        self.reply, self.tls, self.pause = reply, tls, pause
        self.requests, self.sent = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(65536)
                if not received:
                    return
                request += received
            self.requests.append(request)
            for part in [self.reply] if isinstance(self.reply, bytes) else self.reply():
                connection.sendall(part)
                self.sent += len(part)
                time.sleep(self.pause)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)

    def close(self):
        self.listener.close()


@pytest.fixture
def raw():
    """Starts a raw server: ``raw(reply, **options)``."""
    started = []

    def start(*args, **options):
        started.append(RawServer(*args, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


def http(body, *headers, status="200 OK"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"content-length: {len(content)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + content


def outputs(**changes):
    return http({"outputs": {**GOOD, **changes}})


def endless(head=b"HTTP/1.1 200 OK\r\n\r\n", part=b" " * 65536):
    def parts():
        yield head
        while True:
            yield part

    return parts


def refusal(address, options=QUICK, ask=lambda client: client.classify(["text"])):
    """The error of a request: one printable line of reasonable length."""
    with connect(address, options) as client, pytest.raises(ClientError) as failed:
        ask(client)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 900
    return failed.value


def named(value):
    """The name of a parameter; of a reply, not its bytes."""
    return value if isinstance(value, str) else getattr(value, "__name__", "reply")


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(64 * MIB))
ESCAPES = "\x1b[31mred\x1b]0;title\x07\r\n\u202eevil"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (endless(), ServerError, "longer than"),
        (endless(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n"), ServerError, "longer than"),
        (endless(b"HTTP/1.0 404 Not Found\r\n\r\n"), ServerError, "longer than"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100), UnavailableError, "too long"),
        (endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 999), UnavailableError, "too long"),
        (http(BOMB, "content-encoding: gzip"), ServerError, "not JSON, or compressed"),
        (http(BOMB, "content-encoding: gzip", status="500 no"), ServerError, "HTTP 500"),
        (CHUNKED + b"5\r\n{", UnavailableError, "incomplete chunked read"),
        (CHUNKED + b"fffffffffffffffffffff\r\n{", UnavailableError, "chunk"),
        (http(b"{}")[:-1], UnavailableError, "received 1 bytes, expected 2"),
        (b"", UnavailableError, "without sending a response"),
        (b"\x00\x00\x12\x04garbage\r\n\r\n", UnavailableError, "illegal status line"),
        (http(b"{"), ServerError, "not JSON"),
        (http(b"[" * 500_000), ServerError, "not JSON"),
        (http(b"1" * 500_000), ServerError, "not JSON"),
        (http(b'"outputs"'), WrongSignatureError, "malformed"),
        (http({"outputs": None}), WrongSignatureError, "malformed"),
        (outputs(scores=[[float("nan"), 0.5]]), WrongSignatureError, "scores nan"),
        (outputs(scores=[[float("inf"), 0.5]]), WrongSignatureError, "scores inf"),
        (outputs(scores=[[1e39, 0.5]]), WrongSignatureError, "malformed"),
        (outputs(scores=[["0.75", 0.5]]), WrongSignatureError, "malformed"),
        (outputs(scores=[[0.75]]), WrongSignatureError, "malformed"),
        (outputs(scores=5), WrongSignatureError, "malformed"),
        (outputs(label=[]), WrongSignatureError, "1 texts got 0 labels"),
        (outputs(label=["a"] * 9), WrongSignatureError, "1 texts got 9 labels"),
        (outputs(label=["c"]), WrongSignatureError, "label 'c' with classes 'a', 'b'"),
        (outputs(label=["c" * MIB]), WrongSignatureError, "label 'ccc"),
        (outputs(label=[["a"]]), WrongSignatureError, "malformed"),
        (outputs(label=[1], classes=[[1, 2]]), WrongSignatureError, "label 1 with classes 1, 2"),
        (outputs(classes=[["a", "a"]]), WrongSignatureError, "classes 'a', 'a'"),
        (outputs(label=[ESCAPES], classes=[[ESCAPES, "b"]]), WrongSignatureError, "label"),
        (http({"error": ESCAPES}, status="500 no"), ServerError, "HTTP 500 [31mred"),
        (http({"error": ["x"]}, status="500 no"), ServerError, "HTTP 500 no"),
        (http(b"", status="429 Slow down"), UnavailableError, "HTTP 429 Slow down"),
    ],
    ids=named,
)
def test_rest_replies(raw, reply, kind, words):
    server = raw(reply)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()

    error = refusal(f"http://127.0.0.1:{server.port}", QUICK)

    assert type(error) is kind
    assert words.lower() in str(error).lower()
    assert time.monotonic() - started < 10
    assert server.sent < QUICK.max_reply_bytes + 16 * MIB
    # In KiB; the limit of the reply is 3 MiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


@pytest.mark.parametrize(
    "reply",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"x"),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        endless(CHUNKED, b"1\r\n \r\n"),
        endless(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b" "),
    ],
    ids=["headers", "100 Continue", "chunks", "body"],
)
def test_a_reply_that_trickles_is_left_at_the_deadline(raw, reply):
    server = raw(reply, pause=0.02)
    started = time.monotonic()

    error = refusal(f"http://127.0.0.1:{server.port}", Options(deadline=0.3))

    assert isinstance(error, UnavailableError)
    assert "no answer within the deadline of 0.3 s" in str(error)
    assert 0.3 <= time.monotonic() - started < 5


def test_older_http_is_understood(raw):
    body = json.dumps({"outputs": GOOD}).encode()
    for head in (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200\r\nconnection: close\r\n\r\n"):
        server = raw(head + body)
        with connect(f"http://127.0.0.1:{server.port}", QUICK) as client:
            assert client.classify(["text"])[0].scores == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Elsewhere", "308 Elsewhere"])
def test_redirects_take_no_credentials_elsewhere(raw, status):
    other = raw(outputs())
    server = raw(http(b"", f"location: http://127.0.0.1:{other.port}/", status=status))

    error = refusal(f"http://127.0.0.1:{server.port}", Options(token="secret", retries=0))

    assert f"HTTP {status}" in str(error)
    assert b"Bearer secret" in server.requests[0]
    assert other.requests == []


@pytest.mark.parametrize(
    "versions",
    [
        [{"version": float("inf"), "state": "END"}],
        [{"version": "1" * 5000, "state": "END"}],
        [{"version": 1, "state": "END", "status": "OK"}],
        [5],
        5,
        None,
    ],
)
def test_a_status_that_is_none(raw, versions):
    server = raw(http({"model_version_status": versions}))
    error = refusal(f"http://127.0.0.1:{server.port}", QUICK, lambda client: client.status())
    assert "not a model status" in str(error)


def test_escapes_of_a_status_are_dropped(raw):
    row = {"version": "7", "state": ESCAPES, "status": {"error_message": ESCAPES}}
    server = raw(http({"model_version_status": [row]}))
    with connect(f"http://127.0.0.1:{server.port}", QUICK) as client:
        (found,) = client.status()
    assert found.version == 7
    assert found.state.isprintable()
    assert found.message.isprintable()


# --- gRPC -----------------------------------------------------------------------------------------


class RawGrpc(grpc.GenericRpcHandler):
    def __init__(self, reply, compression):
        self.reply, self.compression = reply, compression

    def service(self, _details):
        def answer(_request, context):
            context.set_compression(self.compression)
            return self.reply

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def grpc_server(reply, compression=grpc.Compression.NoCompression, tls=None):
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([RawGrpc(reply, compression)])
    if tls:
        pair = [(tls[1].read_bytes(), tls[0].read_bytes())]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def tensors(**values):
    """A serialized PredictResponse; each value is (type, shape, contents)."""
    response = predict_pb2.PredictResponse()
    good = {
        "label": (7, [1], [b"a"]),
        "scores": (1, [1, 2], [0.75, 0.25]),
        "classes": (7, [1, 2], [b"a", b"b"]),
    }
    for name, (kind, shape, contents) in {**good, **values}.items():
        tensor = response.outputs[name]
        tensor.dtype = kind
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        if isinstance(contents, bytes):
            tensor.tensor_content = contents
        else:
            (tensor.string_val if kind == 7 else tensor.float_val).extend(contents)
    return response.SerializeToString()


STATUS = get_model_status_pb2.GetModelStatusResponse()
STATUS.model_version_status.add(version=1, state="END")


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (bytes(4 * MIB), ServerError, "longer than 3,145,728 bytes"),
        (b"\xff" * 1000, ServerError, "not TF Serving's"),
        (b"", WrongSignatureError, "malformed"),
        (STATUS.SerializeToString(), WrongSignatureError, "malformed"),
        (tensors(scores=(1, [1, 2], [float("nan"), 0.5])), WrongSignatureError, "scores nan"),
        (tensors(scores=(1, [1, 2], [float("inf"), 0.5])), WrongSignatureError, "scores inf"),
        (tensors(scores=(1, [1, 2**40], [0.5])), WrongSignatureError, "too large"),
        (tensors(scores=(1, [2**40, 0], [])), WrongSignatureError, "too large"),
        (tensors(scores=(1, [2**31, 2**31], [0.5])), WrongSignatureError, "too large"),
        (tensors(classes=(7, [2**12, 2**13], [b"a"])), WrongSignatureError, "too large"),
        (tensors(scores=(1, [-1, -2], [0.5, 0.5])), WrongSignatureError, "0 rows of scores"),
        (tensors(scores=(1, [-1, 2], [0.5])), WrongSignatureError, "0 values for shape"),
        (tensors(scores=(1, [1, 2], b"12345")), WrongSignatureError, "malformed"),
        (tensors(scores=(3, [1, 2], [])), WrongSignatureError, "neither float32 nor string"),
        (tensors(label=(7, [2], [b"a", b"b"])), WrongSignatureError, "1 texts got 2 labels"),
        (tensors(label=(7, [1], [b"\x1b[31m"])), WrongSignatureError, "label"),
    ],
    ids=named,
)
def test_grpc_replies(reply, kind, words):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with grpc_server(reply) as port:
        error = refusal(f"grpc://127.0.0.1:{port}")
    assert type(error) is kind
    assert words in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


def test_grpc_reply_that_inflates():
    with grpc_server(bytes(64 * MIB), grpc.Compression.Gzip) as port:
        assert "'gzip' is disabled" in str(refusal(f"grpc://127.0.0.1:{port}"))


def test_grpc_status_that_is_none():
    with grpc_server(b"\xff" * 1000) as port:
        error = refusal(f"grpc://127.0.0.1:{port}", ask=lambda client: client.status())
    assert "the reply to ModelService/GetModelStatus is not TF Serving's" in str(error)


def test_grpc_server_that_says_nothing(raw):
    server = raw(endless(b"", b"\x00"), pause=0.02)
    started = time.monotonic()
    error = refusal(f"grpc://127.0.0.1:{server.port}", Options(deadline=0.5))
    assert isinstance(error, UnavailableError)
    assert time.monotonic() - started < 10


# --- certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("expired", "the server's certificate has expired (certificate has expired)"),
        ("early", "the server's certificate is not valid yet"),
        ("elsewhere", "the server's certificate is another host's (Hostname mismatch"),
        ("stranger", "the server's certificate is not trusted"),
    ],
)
def test_a_certificate_that_is_refused_is_said_alike(raw, certificates, certificate, words):
    files = (
        getattr(certificates, f"{certificate}_pem"),
        getattr(certificates, f"{certificate}_key"),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    rest = raw(outputs(), tls=context)
    # Several retries would be allowed: what is refused is not tried again.
    options = Options(ca_file=certificates.authority_pem, deadline=5)
    with grpc_server(tensors(), tls=files) as port:
        found = [
            refusal(address, options)
            for address in (f"https://localhost:{rest.port}", f"grpcs://localhost:{port}")
        ]
    assert [type(error) for error in found] == [DeniedError, DeniedError]
    told = [str(error).partition(": ")[2] for error in found]
    assert told[0] == told[1]
    assert words in told[0]
    assert found[0].exit_code == 8


def test_a_certificate_for_another_address(raw, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.elsewhere_pem, certificates.elsewhere_key)
    rest = raw(outputs(), tls=context)
    error = refusal(
        f"https://127.0.0.1:{rest.port}", Options(ca_file=certificates.authority_pem, retries=0)
    )
    assert "the server's certificate is another host's (IP address mismatch" in str(error)


def own_key(certificates, password=None):
    return Options(
        ca_file=certificates.authority_pem,
        cert_file=certificates.client_pem,
        key_file=certificates.client_locked,
        key_password=password,
        retries=0,
    )


@pytest.mark.parametrize(
    ("scheme", "password", "words"),
    [
        ("https", None, "the key is encrypted; give the file of its pass phrase"),
        ("grpcs", None, "the key is encrypted; give the file of its pass phrase"),
        ("grpcs", "open sesame", "(https:// only; --key-password-file), or decrypt it"),
        ("https", "close", "or another pass phrase"),
        ("https", "", "or another pass phrase"),
        ("https", "x" * 5000, "or another pass phrase"),
    ],
)
def test_an_encrypted_key_is_refused_without_its_pass_phrase(certificates, scheme, password, words):
    with pytest.raises(DeniedError) as refused:
        connect(f"{scheme}://localhost:1", own_key(certificates, password))
    assert words in str(refused.value)
    assert str(certificates.client_locked) in str(refused.value)


def test_an_encrypted_key_is_opened_by_its_pass_phrase(raw, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_pem, certificates.server_key)
    context.load_verify_locations(certificates.authority_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    rest = raw(outputs(), tls=context)
    with connect(f"https://localhost:{rest.port}", own_key(certificates, "open sesame")) as client:
        assert client.classify(["text"])[0].label == "a"
    assert "sesame" not in repr(own_key(certificates, "open sesame"))


# --- proxies --------------------------------------------------------------------------------------


@pytest.fixture
def proxies(monkeypatch):
    """Sets the environment's proxies, and no others."""
    names = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy")
    for name in (*names, *map(str.upper, names)):
        monkeypatch.delenv(name, raising=False)

    def name_them(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return name_them


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:hush@127.0.0.1:1080",
        "socks5h://127.0.0.1:1080",
        "ftp://127.0.0.1",
        "http://",
        "http://[::1",
        "http://127.0.0.1:hush",
        "http://127.0.0.1:99999",
        "://",
        "http://[v1.a]:80",
        "http://127.0.0.1:80/\x1b[31m",
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line(proxies, scheme, proxy):
    proxies(**{"https_proxy" if "grpc" in scheme else "ALL_PROXY": proxy})
    with pytest.raises(UserError) as refused:
        connect(f"{scheme}://serving.example.org:1")
    assert "add serving.example.org to NO_PROXY" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "hush" not in str(refused.value)

    connect(f"{scheme}://localhost:1").close()
    proxies(NO_PROXY="example.com,example.org")
    connect(f"{scheme}://serving.example.org:1").close()


def test_gRPC_does_without_a_proxy_for_all(proxies):  # noqa: N802
    proxies(ALL_PROXY="socks5://127.0.0.1:1080")
    connect("grpc://serving.example.org:1").close()


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_a_proxy_that_refuses_is_named(proxies, raw, scheme):
    proxy = raw(http(b"", status="403 Forbidden"))
    proxies(**{"https_proxy" if "grpc" in scheme else "ALL_PROXY": f"127.0.0.1:{proxy.port}"})

    error = refusal(f"{scheme}://serving.example.org:1", QUICK)

    assert f"serving.example.org:1 through the proxy 127.0.0.1:{proxy.port}: " in str(error)
    assert "403" in str(error)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_a_proxy_where_nobody_listens_is_named(proxies, raw, scheme):
    gone = raw()
    gone.close()
    url = f"http://me:hush@127.0.0.1:{gone.port}"
    proxies(**{"https_proxy" if "grpc" in scheme else "ALL_PROXY": url})

    error = refusal(f"{scheme}://serving.example.org:1", QUICK)

    assert f"through the proxy 127.0.0.1:{gone.port}: not reachable" in str(error)
    assert "Connection refused" in str(error)
    assert "NO_PROXY" in str(error)


def test_a_proxy_is_used(proxies, raw):
    proxy = raw(outputs())
    proxies(http_proxy=f"http://me:hush@127.0.0.1:{proxy.port}")
    with connect("http://serving.example.org:1", QUICK) as client:
        assert client.classify(["text"])[0].label == "a"
    assert proxy.requests[0].startswith(
        b"POST http://serving.example.org:1/v1/models/arxiv:predict"
    )
    assert b"Proxy-Authorization: Basic" in proxy.requests[0]
