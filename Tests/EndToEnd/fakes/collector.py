#!/usr/bin/env python3
"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP as JSON, and keeps the spans. By hand: `python3 collector.py 4318` prints them."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Collector:
    def __init__(self, port=0, shown=False):
        self.spans, self.requests, self.resources = [], [], []
        #: Instead of 200; `None`: it does not answer at all.
        self.status = 200
        self._shown = shown
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.status is None:
                    self.close_connection = True
                    return
                collector.requests.append((self.path, dict(self.headers), len(body)))
                if collector.status == 200:
                    collector._take(json.loads(body))
                answer = b"{}"
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _take(self, document):
        for resource in document["resourceSpans"]:
            self.resources.append(attributes(resource["resource"]))
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]
                if self._shown:
                    for span in scope["spans"]:
                        took = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
                        print(f"{span['traceId'][:8]} {span['name']:16} {took:9.3f} ms  {attributes(span)}", flush=True)

    def of(self, trace):
        return [span for span in list(self.spans) if span["traceId"] == trace]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def attributes(thing):
    return {pair["key"]: next(iter(pair["value"].values())) for pair in thing.get("attributes", [])}


if __name__ == "__main__":
    with Collector(int(sys.argv[1]) if len(sys.argv) > 1 else 4318, shown=True) as collector:
        print(collector.url, flush=True)
        threading.Event().wait()
