"""What Prometheus reads: requests as they are served, and how the station stands."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from blemish.service.station import Station

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measures:
    """Figures of one station."""

    def __init__(self, station: Station) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "blemish_requests", "Requests served.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "blemish_request_seconds",
            "What requests took.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Standing(station))

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is its pattern, never its address, of which there are many."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "none", str(status)).inc()
        self._seconds.labels(route or "none").observe(seconds)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self._registry)


class _Standing(Collector):
    """How the station stands at the moment that it is asked."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def describe(self) -> Iterator[Metric]:
        """Nothing: without it, registering would ask the station."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        status = self._station.status()
        for name, about, value in (
            ("lines", "Lines that there are.", status.lines),
            ("inspections", "Inspections that are kept.", status.inspections),
            ("queued_files", "Files that wait or are being inspected.", status.queued),
            ("workers", "Threads that inspect, and are alive.", status.workers),
            ("stored_bytes", "Bytes that pictures, maps and detectors take.", status.stored),
            ("free_bytes", "Bytes that are left on that disk.", status.free),
        ):
            yield GaugeMetricFamily(f"blemish_{name}", about, value=float(value))
