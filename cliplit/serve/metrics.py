"""What a monitor reads at /metrics, in a registry of its own so that two servers in one process do not mix."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)


class Metrics:
    """Counters and gauges of one server; every one is safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        ProcessCollector(registry=here)
        self.requests = Counter("cliplit_requests", "Requests to /enhance by HTTP status", ["status"], registry=here)
        self.failures = Counter(
            "cliplit_failures", "Requests that were not served, by reason", ["reason"], registry=here
        )
        self.seconds = Histogram(
            "cliplit_enhance_seconds", "From a request's start to its relit photo", buckets=_SECONDS, registry=here
        )
        self.in_flight = Gauge("cliplit_photos_in_flight", "Photos being received, relit or encoded", registry=here)
        self.model = Gauge("cliplit_model_info", "1 for the model that serves", ["version", "md5"], registry=here)
        self.version = Gauge("cliplit_model_version", "Version that serves; 0: none of the registry's", registry=here)
        self.swaps = Counter("cliplit_model_swaps", "Times that another model began to serve", registry=here)
        self.problem = Gauge("cliplit_model_problem", "1 while the champion cannot be served", registry=here)
        self.load_failures = Counter("cliplit_model_load_failures", "Looks for a champion that failed", registry=here)

    def serves(self, version: int | None, label: str, md5: str) -> None:
        """The model that serves from now on."""
        self.model.clear()
        self.model.labels(version=label, md5=md5).set(1)
        self.version.set(version or 0)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
