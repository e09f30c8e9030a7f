"""What nodes say of the logs of their pods, where there is no node."""

import http.server
import ssl
import threading
from pathlib import Path
from types import TracebackType

from tests.cluster.shell import run
from tests.kube import Kube


class FakeLogs:
    """A kubelet's port on which the API server asks for logs. A pod without a log here has none."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube = kube
        self.texts: dict[str, str] = {}  # by the pod's name
        key, certificate = folder / "node.key", folder / "node.crt"
        subject = ("-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1")
        made = ("-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
        run(["openssl", "req", *made, *subject, "-keyout", key, "-out", certificate])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
        texts = self.texts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod = self.path.split("?")[0].split("/")[3]
                body = texts.get(pod, "").encode()
                self.send_response(200 if pod in texts else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._nodes: list[str] = []

    def __enter__(self) -> "FakeLogs":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for node in self._nodes:
            self._kube.delete("Node", node)

    def node_of(self, pod: str, text: str | None) -> None:
        """Make the node to which the kubelet of the tests binds a pod, with its log, or without."""
        if text is not None:
            self.texts[pod] = text
        node = f"node-of-{pod}"
        self._kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        self._nodes.append(node)
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_port}},
        }
        self._kube.patch("Node", node, {"status": status}, "status")
