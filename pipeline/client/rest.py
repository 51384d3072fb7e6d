"""TF Serving's REST interface.

https://www.tensorflow.org/tfx/serving/api_rest describes it; which HTTP status stands for which
error is in tensorflow_serving/model_servers/http_server.cc.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

from components.contracts import features
from pipeline.client import retry, tls
from pipeline.client.api import Address, Classification, Client, Options, VersionStatus, assemble
from pipeline.client.errors import (
    ClientError,
    DeniedError,
    ModelNotLoadedError,
    ServerError,
    TextTooLongError,
    UnavailableError,
    WrongSignatureError,
    one_line,
)

_OVERLOADED = (429, 502, 503, 504)
# Words of TF Serving's messages with HTTP 400 that blame the signature, not the request.
_SIGNATURE_WORDS = ("signature", "named input", "multiple input tensors", "not of expected type")
# Names of the TLS alerts with which a server refuses a client's certificate, or the lack of one.
_CLIENT_CERTIFICATE_WORDS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
# Of the message of TF Serving's batching.
_TOO_MANY_ROWS = "larger than maximum input batch size"
_NO_MODEL_WORDS = ("servable not found", "could not find", "version label")


class RestClient(Client):
    """Asks over HTTP; the connection is kept between requests."""

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(options)
        self._address = address
        self._model = f"{address}/v1/models/{quote(options.model_name, safe='')}"
        chosen = ""
        if options.version is not None:
            chosen = f"/versions/{options.version}"
        elif options.version_label is not None:
            chosen = f"/labels/{quote(options.version_label, safe='')}"
        self._predict = f"{self._model}{chosen}:predict"
        self._http = httpx.Client(
            headers={"accept": "application/json", **options.all_headers()},
            verify=tls.make_context(options) if address.tls else False,
            # No proxy stands between a machine and itself, whatever the environment says.
            trust_env=not address.loopback,
        )

    def status(self) -> list[VersionStatus]:
        """See :meth:`Client.status`."""
        answer = self._request("GET", self._model, None)
        try:
            found = [
                VersionStatus(
                    int(one["version"]),
                    str(one["state"]),
                    one_line(str(one.get("status", {}).get("error_message", ""))),
                )
                for one in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError(f"{self._address}: not a model status of TF Serving's") from None
        return sorted(found, key=lambda one: -one.version)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _classify(self, texts: Sequence[bytes]) -> list[Classification]:
        body = {"inputs": {features.ABSTRACT: [_json_string(text) for text in texts]}}
        answer = self._request("POST", self._predict, json.dumps(body).encode())
        try:
            outputs = answer["outputs"]
            labels, scores, classes = (
                outputs[name]
                for name in (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
            )
            return assemble(labels, scores, classes, len(texts), str(self._address))
        except (KeyError, TypeError, OverflowError):
            raise WrongSignatureError(
                f"{self._address}: the model's answer lacks label, scores or classes; "
                "is it an abstract classifier?"
            ) from None

    def _request(self, method: str, url: str, body: bytes | None) -> Any:
        return retry.call(
            lambda seconds: self._send(method, url, body, seconds),
            deadline=self.options.deadline,
            retries=self.options.retries,
        )

    def _send(self, method: str, url: str, body: bytes | None, seconds: float) -> Any:
        ends = time.monotonic() + seconds
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            with self._http.stream(
                method, url, content=body, headers=headers, timeout=seconds
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    # The library's timeout starts anew with each piece that arrives.
                    if time.monotonic() > ends:
                        raise self._too_slow()
        except httpx.TimeoutException:
            raise self._too_slow() from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_connection(error) from error
        if response.status_code != 200:
            raise self._refusal(response, bytes(content))
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ServerError(f"{self._address}: the answer is not JSON; not TF Serving?") from None

    def _too_slow(self) -> ClientError:
        return UnavailableError(
            f"{self._address}: no answer within the deadline of {self.options.deadline:g} s"
        )

    def _no_connection(self, error: Exception) -> ClientError:
        reason = one_line(str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return DeniedError(
                f"{self._address}: the server's certificate is not trusted ({reason}); "
                "give the authority that signed it"
            )
        if "ALERT" in reason and any(word in reason for word in _CLIENT_CERTIFICATE_WORDS):
            return DeniedError(
                f"{self._address}: it asks for another client certificate ({reason})"
            )
        return UnavailableError(
            f"{self._address}: not reachable ({reason}); is the server running there?",
            transient=isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError),
        )

    def _refusal(self, response: httpx.Response, content: bytes) -> ClientError:
        """The error that a status other than 200 stands for."""
        code = response.status_code
        message = one_line(_error_message(content) or response.reason_phrase)
        said = message.lower()
        where = f"{self._address}"
        if code == 404 and any(words in said for words in _NO_MODEL_WORDS):
            return ModelNotLoadedError(
                f"{where}: model {self.options.model_name!r} is not loaded there ({message})"
            )
        if code == 404:
            return ServerError(f"{where}: HTTP 404 {message}; is it TF Serving's REST port?")
        if code == 400 and "version label" in said:
            return ModelNotLoadedError(f"{where}: {message}")
        if code == 400 and any(words in said for words in _SIGNATURE_WORDS):
            return WrongSignatureError(
                f"{where}: model {self.options.model_name!r} does not take abstracts ({message})"
            )
        if code in (401, 403, 407):
            return DeniedError(f"{where}: HTTP {code}, the credentials are refused ({message})")
        if code == 413 or (code == 400 and _TOO_MANY_ROWS in said):
            return TextTooLongError(f"{where}: the request is too large for the server ({message})")
        if code in _OVERLOADED:
            return UnavailableError(
                f"{where}: HTTP {code} {message}",
                transient=True,
                retry_after=_retry_after(response.headers.get("retry-after")),
            )
        return ServerError(f"{where}: HTTP {code} {message}")


def _json_string(text: bytes) -> str | dict[str, str]:
    """A string of the request; bytes that are not UTF-8 go in base64."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode()}


def _error_message(content: bytes) -> str:
    """TF Serving's message; empty where the body is not an error of its."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    message = answer.get("error") if isinstance(answer, dict) else None
    return message if isinstance(message, str) else ""


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it is absent or a date."""
    return float(value) if value is not None and value.strip().isdecimal() else None
