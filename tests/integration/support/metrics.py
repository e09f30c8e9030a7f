"""What an operator counts of itself, as Prometheus writes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metrics:
    """All of /metrics at one moment; empty when nothing listens."""

    text: str

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the series that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for told, value in self.series(name).items() if all(each in told for each in wanted))

    def series(self, name: str) -> dict[str, float]:
        """Return the series of a metric by their labels."""
        lines = [line.rpartition(" ") for line in self.text.splitlines()]
        return {labels: float(value) for labels, _, value in lines if labels.partition("{")[0] == name}
