"""A bucket on loopback, as a process of its own: as much of S3 as a store of baselines uses.

    python tests/baselines/s3_server.py            prints `PORT <n>` when it is ready; ends when standard input closes

Objects live in memory. `PUT` with `If-None-Match: *` is refused with 412 where the key is taken, as S3 does since 2024.
A bucket that is not `bucket` does not exist.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

OBJECTS: dict[str, bytes] = {}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _where(self) -> tuple[str, str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, parse_qs(parts.query, keep_blank_values=True)

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._say(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self) -> None:
        bucket, key, _ = self._where()
        body = self._body()
        if bucket != "bucket":
            return self._error(404, "NoSuchBucket")
        with LOCK:
            if self.headers.get("If-None-Match") == "*" and key in OBJECTS:
                return self._error(412, "PreconditionFailed")
            OBJECTS[key] = body
        self._say(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_GET(self) -> None:
        bucket, key, query = self._where()
        if bucket != "bucket":
            return self._error(404, "NoSuchBucket")
        if not key:
            return self._list(query)
        body = OBJECTS.get(key)
        if body is None:
            return self._error(404, "NoSuchKey")
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status = 200
        if found is not None:
            status, body = 206, body[int(found[1]) : int(found[2]) + 1 if found[2] else None]
        self._say(status, body, ETag=f'"{hashlib.md5(body).hexdigest()}"', Last_Modified=_WHEN)

    do_HEAD = do_GET

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, slash = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], []
        for key in sorted(OBJECTS):
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(slash) if slash else (key, "", "")
                folders.append(prefix + head + slash) if found else keys.append(key)
        rows = [
            f"<Contents><Key>{escape(k)}</Key><Size>{len(OBJECTS[k])}</Size><ETag>&quot;x&quot;</ETag>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for k in keys
        ]
        rows += [
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in dict.fromkeys(folders)
        ]
        text = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
            f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(rows)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>"
        )
        self._say(200, text.encode(), Content_Type="application/xml")

    def do_POST(self) -> None:
        _, _, query = self._where()
        body = self._body().decode()
        if "delete" not in query:
            return self._error(501, "NotImplemented")
        with LOCK:
            for key in re.findall(r"<Key>(.*?)</Key>", body):
                OBJECTS.pop(key, None)
        self._say(200, b"<DeleteResult/>", Content_Type="application/xml")

    def do_DELETE(self) -> None:
        _, key, _ = self._where()
        with LOCK:
            OBJECTS.pop(key, None)
        self._say(204)

    def log_message(self, format: str, *args: object) -> None:
        return


_WHEN = "Thu, 01 Jan 2026 00:00:00 GMT"

if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"PORT {server.server_address[1]}", flush=True)
    sys.stdin.read()
