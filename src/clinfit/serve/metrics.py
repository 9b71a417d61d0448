"""Counters and times in Prometheus' text format (version 0.0.4). Labels are routes, models and states, never values."""

import threading
from collections import Counter
from collections.abc import Mapping

#: Upper ends of the classes of times, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Numbers with every digit that matters: of a counter that is rounded no rate can be told.
WHOLE = ".15g"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What has happened since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._times: dict[Labels, list[int]] = {}
        self._sums: Counter[Labels] = Counter()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """name: of HELP."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += by  # type: ignore[assignment]

    def time(self, seconds: float, route: str) -> None:
        """How long a request took."""
        labels = (("route", route),)
        with self._lock:
            buckets = self._times.setdefault(labels, [0] * (len(BUCKETS) + 1))
            for k, end in enumerate(BUCKETS):
                buckets[k] += seconds <= end
            buckets[-1] += 1
            self._sums[labels] += seconds  # type: ignore[assignment]

    def text(self, now: Mapping[str, float]) -> str:
        """All of it. now: what stands at this moment, by name."""
        with self._lock:
            counts, times = dict(self._counts), {labels: list(buckets) for labels, buckets in self._times.items()}
            sums = dict(self._sums)
        lines: list[str] = []
        for name, words in HELP.items():
            found = sorted((labels, value) for (known, labels), value in counts.items() if known == name)
            if found:
                lines += [f"# HELP {name} {words}", f"# TYPE {name} counter"]
                lines += [f"{name}{_braces(labels)} {value:{WHOLE}}" for labels, value in found]
        for name, value in now.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {NOW[name]}", f"# TYPE {name} {kind}", f"{name} {value:{WHOLE}}"]
        if times:
            lines += [f"# HELP {TIME} Seconds from a request to its answer", f"# TYPE {TIME} histogram"]
        for labels, buckets in sorted(times.items()):
            ends = [*map(str, BUCKETS), "+Inf"]
            lines += [
                f"{TIME}_bucket{_braces((*labels, ('le', end)))} {count}"
                for end, count in zip(ends, buckets, strict=True)
            ]
            lines += [
                f"{TIME}_sum{_braces(labels)} {sums[labels]:{WHOLE}}",
                f"{TIME}_count{_braces(labels)} {buckets[-1]}",
            ]
        return "\n".join(lines) + "\n"


TIME = "clinfit_request_seconds"
#: Counters and what they count.
HELP = {
    "clinfit_requests_total": "Requests by route, method and status",
    "clinfit_items_total": "Records answered at once, by model and status",
    "clinfit_jobs_total": "Jobs that were sent, by model",
    "clinfit_refused_total": "Requests that were refused, by reason",
}
#: What is read when somebody asks, and what it tells: counters (`_total`), which only rise, and gauges.
NOW = {
    "clinfit_ready": "1 where the service is ready",
    "clinfit_requests_waiting": "Records of requests that wait for a model",
    "clinfit_job_records_waiting": "Records of jobs that are not done",
    "clinfit_chunks_done_total": "Chunks of jobs that this process has done",
    "clinfit_turns_total": "How often a model was asked",
    "clinfit_asked_total": "Records that a model was asked about",
}


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
