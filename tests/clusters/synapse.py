"""An Azure Synapse workspace as far as Spark batches go: TLS, bearer token, Synapse's paths; behind it a real Livy.

The only stand-in of the clusters: real Synapse cannot be had for tests. What it does itself is the token, the paths,
the errors and a few fields of the answers; batches are run by Livy, and the login is asked for by ``azure-identity``.
Import ``synapse`` into a ``conftest.py``.
"""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.livy import server as livy_server

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_ID = "66666666-7777-8888-9999-000000000000"
CLIENT_SECRET = "the-secret-of-the-service-principal"
_LOGIN = f"/{TENANT}/oauth2/v2.0"
#: Livy's state → what Synapse says about the result.
_RESULTS = {"success": "Succeeded", "dead": "Failed", "error": "Failed", "killed": "Cancelled"}
#: What Synapse's requests hold beyond Livy's.
_ONLY_SYNAPSE = ("tags", "artifactId")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SynapseWorkspace:
    """It, while it runs.

    :param livy: where the real Livy answers.
    :param pools: names of its Spark pools.
    """

    def __init__(self, livy: str, folder: Path, pools: tuple[str, ...] = ("pool1",)) -> None:
        self.livy = livy
        self.pools = pools
        self.certificate = folder / "synapse.crt"
        self.token_seconds = 3600
        #: (method, path) of each request, in order.
        self.requests: list[tuple[str, str]] = []
        #: When True, no answer is given to anybody but 503.
        self.is_down = False
        self._tokens: set[str] = set()
        key = folder / "synapse.key"
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        out = ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run([*make, *names, *out], check=True, capture_output=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"workspace": self}))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """The development endpoint: ``https://host:port``."""
        return f"https://localhost:{self._server.server_address[1]}"

    @property
    def authority(self) -> str:
        """For ``azure-identity``, with ``disable_instance_discovery=True`` and ``connection_verify=certificate``."""
        return self.endpoint

    def token(self) -> str:
        """Return a new bearer token that it accepts."""
        made = secrets.token_hex(16)
        self._tokens.add(made)
        return made

    def revoke(self) -> None:
        """Accept none of the tokens any more that it has given."""
        self._tokens.clear()

    def accepts(self, authorization: str | None) -> bool:
        """Return whether that is a header with one of its tokens."""
        kind, _, token = (authorization or "").partition(" ")
        return kind == "Bearer" and token in self._tokens

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workspace: SynapseWorkspace

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urllib.parse.urlsplit(self.path)
        self.workspace.requests.append((self.command, path.path))
        if self.workspace.is_down:
            self._error(503, "ServiceUnavailable", "The service is unavailable.")
        elif path.path.startswith(f"/{TENANT}/"):
            self._login(path.path, body)
        elif not self.workspace.accepts(self.headers.get("Authorization")):
            self._error(401, "AuthenticationFailed", "Token Authentication failed")
        else:
            self._batches(path, body)

    def _login(self, path: str, body: bytes) -> None:
        """Be the login service, for one service principal."""
        here = f"{self.workspace.endpoint}{_LOGIN}"
        if path.endswith("/.well-known/openid-configuration"):
            issuer = f"{self.workspace.endpoint}/{TENANT}/v2.0"
            found = {"authorization_endpoint": f"{here}/authorize", "token_endpoint": f"{here}/token", "issuer": issuer}
            return self._answer(200, found)
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        if path != f"{_LOGIN}/token" or asked.get("client_id") != CLIENT_ID:
            return self._answer(400, {"error": "unauthorized_client", "error_description": "AADSTS700016: not found"})
        if asked.get("client_secret") != CLIENT_SECRET:
            said = "AADSTS7000215: Invalid client secret provided."
            return self._answer(401, {"error": "invalid_client", "error_description": said})
        token = {"token_type": "Bearer", "expires_in": self.workspace.token_seconds, "ext_expires_in": 3600}
        return self._answer(200, {**token, "access_token": self.workspace.token()})

    def _batches(self, path: urllib.parse.SplitResult, body: bytes) -> None:
        """Pass a request on to Livy."""
        parts = path.path.strip("/").split("/")
        if len(parts) < 6 or parts[:2] != ["livyApi", "versions"] or parts[3] != "sparkPools" or parts[5] != "batches":
            return self._error(404, "NotFound", f"There is nothing at {path.path}")
        pool = parts[4]
        if pool not in self.workspace.pools:
            return self._error(404, "SparkComputeNotFound", f"Spark pool {pool} was not found in the workspace.")
        if body:
            wanted = {name: value for name, value in json.loads(body).items() if name not in _ONLY_SYNAPSE}
            body = json.dumps(wanted).encode()
        query = urllib.parse.parse_qsl(path.query)
        kept = urllib.parse.urlencode([(name, value) for name, value in query if name in ("from", "size")])
        url = f"{self.workspace.livy}/{'/'.join(parts[5:])}{'?' + kept if kept else ''}"
        headers = {"Content-Type": "application/json", "X-Requested-By": "synapse"}
        request = urllib.request.Request(url, body or None, headers, method=self.command)
        try:
            with _OPENER.open(request, timeout=30) as answer:
                found = json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return self._error(error.code, "LivyRequestFailed", error.read().decode("utf-8", "replace"))
        except OSError as error:
            return self._error(502, "BadGateway", str(error))
        if self.command == "DELETE":
            return self._answer(200, None)
        if isinstance(found, dict) and "sessions" in found:
            found["sessions"] = [self._batch(pool, one) for one in found["sessions"]]
        elif isinstance(found, dict) and "state" in found and "id" in found:
            found = self._batch(pool, found)
        return self._answer(200, found)

    def _batch(self, pool: str, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch of Livy's in Synapse's form."""
        shown = {"sparkPoolName": pool, "jobType": "SparkBatch", "result": _RESULTS.get(batch["state"], "Uncertain")}
        info = {name: value for name, value in (batch.get("appInfo") or {}).items() if value is not None}
        return {**batch, **shown, "appInfo": info or None, "livyInfo": {"currentState": batch["state"]}}

    def _error(self, code: int, name: str, message: str) -> None:
        self._answer(code, {"error": {"code": name, "message": message}, "code": name, "message": message})

    def _answer(self, code: int, found: Any) -> None:
        data = b"" if found is None else json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="session")
def synapse(payload_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workspace with the pool ``pool1``, whose batches run on the Livy of the fixture ``livy``."""
    workspace = SynapseWorkspace(livy_server("local", payload_python).url, tmp_path_factory.mktemp("synapse"))
    yield workspace
    workspace.stop()
