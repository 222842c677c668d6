"""`collector.py FILE [STATUS]`: takes OTLP/HTTP logs as protobuf, decodes them and keeps them as JSON lines.

Prints its port. With STATUS it answers that to everything.
"""

from __future__ import annotations

import gzip
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

KEPT = Path(sys.argv[1])
STATUS = int(sys.argv[2]) if len(sys.argv) > 2 else 200


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        fits = self.path == "/v1/logs" and self.headers["Content-Type"] == "application/x-protobuf"
        status = STATUS if fits else 404
        if status == 200:
            request = ExportLogsServiceRequest.FromString(body)
            with KEPT.open("a", encoding="utf-8") as stream:
                stream.write(MessageToJson(request, indent=None) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


server = HTTPServer(("127.0.0.1", 0), Collector)
print(server.server_address[1], flush=True)
server.serve_forever()
