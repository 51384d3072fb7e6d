"""TF Serving's REST interface.

See https://www.tensorflow.org/tfx/serving/api_rest; the HTTP statuses of errors are in
tensorflow_serving/model_servers/http_server.cc.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

from components.contracts import features
from pipeline.client.errors import ClientError, ServerError
from pipeline.client.transports.server import ServerClient
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
    **dict.fromkeys((502, 503, 504), "UNAVAILABLE"),
}
_NO_MODEL_WORDS = ("servable not found", "could not find", "version label")


class RestClient(ServerClient):
    """Uses HTTP; connections are kept between requests.

    Requests run in an event loop on a thread of their own: only there has a whole exchange a
    deadline, and not each of its reads.
    """

    interface = "REST"

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(address, options)
        self._model = f"{address}/v1/models/{quote(options.model_name, safe='')}"
        chosen = ""
        if options.version is not None:
            chosen = f"/versions/{options.version}"
        elif options.version_label is not None:
            chosen = f"/labels/{quote(options.version_label, safe='')}"
        self._chosen = f"{self._model}{chosen}"
        kind = "application/json"
        # Not compressed: a short reply could expand to a huge one.
        headers = {"accept": kind, "content-type": kind, "accept-encoding": "identity"}
        self._http = httpx.AsyncClient(
            headers={**headers, **options.all_headers()},
            verify=self._tls or False,
            proxy=self._proxy.geturl() if self._proxy else None,
            trust_env=False,
            timeout=None,
        )
        self._open = contextlib.ExitStack()
        self._loop = self._open.enter_context(start_blocking_portal())
        self._open.callback(self._loop.call, self._loop.stop, True)
        self._open.callback(self._loop.call, self._http.aclose)

    def status(self) -> list[VersionStatus]:
        answer = self._ask(lambda seconds: self._send("GET", self._model, None, seconds))
        try:
            return self._versions(
                (one["version"], one["state"], one.get("status", {}).get("error_message", ""))
                for one in answer["model_version_status"]
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ServerError(f"{self._where}: not a model status of TF Serving's") from None

    def close(self) -> None:
        self._open.close()

    def _predict(self, inputs: Mapping[str, Sequence[bytes]]) -> Mapping[str, Any]:
        values = {name: [_json_string(text) for text in texts] for name, texts in inputs.items()}
        body = json.dumps({"inputs": values}).encode()
        url = f"{self._chosen}:predict"
        answer = self._ask(lambda seconds: self._send("POST", url, body, seconds))
        return answer["outputs"]

    def _input_names(self) -> tuple[str, ...]:
        url = f"{self._chosen}/metadata"
        answer = self._ask(lambda seconds: self._send("GET", url, None, seconds))
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return tuple(signatures[features.SERVING_TEXT]["inputs"])

    def _send(self, method: str, url: str, body: bytes | None, seconds: float) -> Any:
        try:
            response, content = self._loop.call(self._exchange, method, url, body, seconds)
        except TimeoutError:
            raise self._too_slow() from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            permanent = (httpx.InvalidURL, httpx.ProxyError, httpx.LocalProtocolError)
            reason = str(error) or type(error).__name__
            raise self._unreached(reason, transient=not isinstance(error, permanent)) from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            raise self._http_error(response, answer)
        if answer is None:
            raise ServerError(
                f"{self._where}: the answer is not JSON, or compressed; is it TF Serving?"
            )
        return answer

    async def _exchange(
        self, method: str, url: str, body: bytes | None, seconds: float
    ) -> tuple[httpx.Response, bytes]:
        content = bytearray()
        with anyio.fail_after(seconds):
            async with self._http.stream(method, url, content=body) as response:
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > self.options.max_reply_bytes:
                        raise self._too_long()
        return response, bytes(content)

    def _http_error(self, response: httpx.Response, answer: Any) -> ClientError:
        # TF Serving's own errors have this form; a proxy's do not.
        said = answer.get("error") if isinstance(answer, dict) else None
        message = said if isinstance(said, str) and said else response.reason_phrase
        code = _CODES.get(response.status_code, "UNKNOWN")
        if code == "NOT_FOUND" and not any(words in message.lower() for words in _NO_MODEL_WORDS):
            code = "UNIMPLEMENTED"
        wait = response.headers.get("retry-after", "").strip()
        retry_after = float(wait) if wait.isdecimal() else 0.0
        return self._refusal(code, message, f"HTTP {response.status_code}", retry_after)


def _json_string(text: bytes) -> str | dict[str, str]:
    """Returns a text as a JSON value; bytes that are not UTF-8 are base64-encoded."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode()}
