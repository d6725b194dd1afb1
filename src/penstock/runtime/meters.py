"""What a mounted server counts, for Prometheus: requests by the version that answered them, and what is in memory."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.runtime.shelf import Shelf

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_ERROR = 500
#: Real-time factors: seconds of work per second of audio.
_FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LABELS = ("component", "version")


class Meters:
    """Counters of one mounted server, in a registry of their own."""

    def __init__(self, shelves: Mapping[str, Shelf]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_InMemory(shelves))
        self._requests = Counter("penstock_requests", "Requests answered", _LABELS, registry=self._registry)
        self._errors = Counter("penstock_errors", "Answers with status 500 or more", _LABELS, registry=self._registry)
        self._latency = Histogram(
            "penstock_latency_seconds", "Until the last byte of an answer", _LABELS, registry=self._registry
        )
        self._factor = Histogram(
            "penstock_real_time_factor",
            "Seconds of work per second of audio",
            _LABELS,
            buckets=_FACTORS,
            registry=self._registry,
        )

    def count(self, versions: Mapping[str, str], *, status: int, seconds: float, audio_s: float) -> None:
        """Count one answer for every component that it may have used; `audio_s` is 0 where it made none."""
        for labels in versions.items():
            self._requests.labels(*labels).inc()
            self._latency.labels(*labels).observe(seconds)
            if status >= _FIRST_ERROR:
                self._errors.labels(*labels).inc()
            if audio_s > 0:
                self._factor.labels(*labels).observe(seconds / audio_s)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _InMemory(Collector):
    """Versions in memory, asked for when somebody looks."""

    def __init__(self, shelves: Mapping[str, Shelf]) -> None:
        self._shelves = shelves

    def collect(self) -> Iterable[Metric]:
        swaps = CounterMetricFamily("penstock_swaps", "How often a version began to serve", labels=_LABELS)
        loading = GaugeMetricFamily("penstock_load_seconds", "What loading a version took", labels=_LABELS)
        ram = GaugeMetricFamily("penstock_memory_bytes", "RAM that a version took", labels=_LABELS)
        gpu = GaugeMetricFamily("penstock_gpu_memory_bytes", "GPU memory that a version took", labels=_LABELS)
        for component, shelf in self._shelves.items():
            for version, n in tuple(shelf.swaps.items()):
                swaps.add_metric((component, version), n)
            for loaded in shelf.ready():
                labels = (component, loaded.version)
                loading.add_metric(labels, loaded.seconds_loading)
                ram.add_metric(labels, loaded.footprint.ram_bytes)
                gpu.add_metric(labels, loaded.footprint.gpu_bytes)
        return (swaps, loading, ram, gpu)
