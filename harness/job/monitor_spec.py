"""The job's key `monitor`: where metrics for Prometheus go. No value depends on it."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.job.specs import Spec

__all__ = ["MonitorSpec"]


class MonitorSpec(Spec):
    """Where each node's first rank tells how the node's ranks fare."""

    textfile: str | None = Field(None, min_length=1)  # the folder that node_exporter's textfile collector reads
    port: int | None = Field(None, ge=1, le=65535)  # that Prometheus scrapes
    address: str = "0.0.0.0"  # that the port is of; all of the machine

    @model_validator(mode="after")
    def _somewhere(self) -> MonitorSpec:
        if self.textfile is None and self.port is None:
            raise ValueError("expected textfile: FOLDER, or port: NUMBER, or both, found neither")
        return self
