"""The job's key `cost`: what an hour and a kilowatt-hour cost. No value depends on it, and it may be given later."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.job.specs import Spec

__all__ = ["PRICES", "CostSpec"]

MOST = 1e15  # of any currency: what comes of it is still a number
PRICES = ("gpu_hour", "cpu_hour", "node_hour", "kwh")


class CostSpec(Spec):
    """Prices, and how much CO2 the electricity stands for. What is not given is not computed."""

    gpu_hour: float | None = Field(None, ge=0, le=MOST, allow_inf_nan=False)
    cpu_hour: float | None = Field(None, ge=0, le=MOST, allow_inf_nan=False)  # of a core that was allocated, busy or not
    node_hour: float | None = Field(None, ge=0, le=MOST, allow_inf_nan=False)
    kwh: float | None = Field(None, ge=0, le=MOST, allow_inf_nan=False)
    currency: str = Field("", max_length=20)
    grams_co2_per_kwh: float | None = Field(None, ge=0, le=MOST, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_a_currency(self) -> CostSpec:
        priced = [name for name in PRICES if getattr(self, name) is not None]
        if priced and not self.currency.strip():
            raise ValueError(f"currency is missing: {', '.join(priced)} in what? as in currency: EUR")
        return self
