"""TF Serving's REST interface.

See https://www.tensorflow.org/tfx/serving/api_rest; the HTTP statuses of errors are in
tensorflow_serving/model_servers/http_server.cc.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from components.contracts import features
from pipeline.client.errors import (
    ClientError,
    DeniedError,
    ServerError,
    UnavailableError,
    one_line,
)
from pipeline.client.transports.server import ServerClient, make_tls_context
from pipeline.client.types import Address, Options, VersionStatus

# gRPC status codes, or TOO_LARGE, by HTTP status, including those of proxies.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    407: "UNAUTHENTICATED",
    413: "TOO_LARGE",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}
_NO_MODEL_WORDS = ("servable not found", "could not find", "version label")
# In the names of TLS alerts by which a server refuses a client certificate, or the lack of one.
_CLIENT_CERTIFICATE_WORDS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")


class RestClient(ServerClient):
    """Uses HTTP; connections are kept between requests."""

    interface = "REST"

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(address, options)
        self._model = f"{address}/v1/models/{quote(options.model_name, safe='')}"
        chosen = ""
        if options.version is not None:
            chosen = f"/versions/{options.version}"
        elif options.version_label is not None:
            chosen = f"/labels/{quote(options.version_label, safe='')}"
        self._predict = f"{self._model}{chosen}:predict"
        self._http = httpx.Client(
            headers={"accept": "application/json", **options.all_headers()},
            verify=make_tls_context(options) if address.tls else False,
            # No proxy to this machine itself, whatever the environment says.
            trust_env=not address.loopback,
        )

    def status(self) -> list[VersionStatus]:
        answer = self._ask(lambda seconds: self._send("GET", self._model, None, seconds))
        try:
            found = []
            for one in answer["model_version_status"]:
                message = one.get("status", {}).get("error_message", "")
                found.append(
                    VersionStatus(int(one["version"]), str(one["state"]), one_line(str(message)))
                )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError(f"{self._where}: not a model status of TF Serving's") from None
        return sorted(found, key=lambda one: -one.version)

    def close(self) -> None:
        self._http.close()

    def _outputs(self, texts: Sequence[bytes]) -> Mapping[str, Any]:
        inputs = {features.ABSTRACT: [_json_string(text) for text in texts]}
        body = json.dumps({"inputs": inputs}).encode()
        answer = self._ask(lambda seconds: self._send("POST", self._predict, body, seconds))
        return answer["outputs"]

    def _send(self, method: str, url: str, body: bytes | None, seconds: float) -> Any:
        ends = time.monotonic() + seconds
        headers = {"content-type": "application/json"} if body is not None else {}
        content = bytearray()
        try:
            with self._http.stream(
                method, url, content=body, headers=headers, timeout=seconds
            ) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    # httpx's timeout restarts with each chunk.
                    if time.monotonic() > ends:
                        raise self._too_slow()
        except httpx.TimeoutException:
            raise self._too_slow() from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_connection(error) from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            raise self._http_error(response, answer)
        if answer is None:
            raise ServerError(f"{self._where}: the answer is not JSON; not TF Serving?")
        return answer

    def _no_connection(self, error: Exception) -> ClientError:
        reason = one_line(str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return self._untrusted(reason)
        if "ALERT" in reason and any(word in reason for word in _CLIENT_CERTIFICATE_WORDS):
            return DeniedError(f"{self._where}: it asks for another client certificate ({reason})")
        return UnavailableError(
            f"{self._where}: not reachable ({reason}); is the server running there?",
            transient=isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError),
        )

    def _http_error(self, response: httpx.Response, answer: Any) -> ClientError:
        # TF Serving's own errors have this form; a proxy's do not.
        said = answer.get("error") if isinstance(answer, dict) else None
        message = said if isinstance(said, str) and said else response.reason_phrase
        code = _CODES.get(response.status_code, "UNKNOWN")
        if code == "NOT_FOUND" and not any(words in message.lower() for words in _NO_MODEL_WORDS):
            code = "UNIMPLEMENTED"
        wait = response.headers.get("retry-after", "").strip()
        retry_after = float(wait) if wait.isdecimal() else None
        return self._refusal(code, message, f"HTTP {response.status_code}", retry_after)


def _json_string(text: bytes) -> str | dict[str, str]:
    """Returns a text as a JSON value; bytes that are not UTF-8 are base64-encoded."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode()}
