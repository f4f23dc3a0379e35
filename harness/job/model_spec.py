"""The part of a job that says which model: a file, a factory, or an endpoint that serves one. Opens nothing."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from harness.job.spec import Spec

__all__ = ["ENDPOINT_KEYS", "ModelSpec"]

SCHEMES = ("grpc", "grpcs", "http", "https")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What goes with an endpoint alone. None of it can change a value: what answers is in the model's own digest.
ENDPOINT_KEYS = ("name", "protocol", "concurrency", "max_rate", "deadline", "give_up", "echo", "rows")
OF_FILES = ("path", "python", "args", "precision", "jit_compile")


class ModelSpec(Spec):
    """Which model, and how to run it."""

    path: str | None = None  # with `python`: weights for the model that the factory makes
    python: str | None = None  # package.module:factory
    args: dict[str, Any] = Field(default_factory=dict)  # keyword arguments of the factory
    endpoint: str | tuple[str, ...] | None = None  # URLs of servers of one and the same model
    name: str | None = None  # that the endpoint has for it
    signature: str = "serving_default"
    version: int | str | None = None  # of an endpoint also a label, or "any"
    precision: Literal["mixed_float16", "mixed_bfloat16"] | None = None
    jit_compile: bool = False
    node_copy: Literal["auto", "always", "never"] = "auto"
    node_copy_bytes: int = Field(64 << 20, ge=0)  # below this size "auto" does not copy
    protocol: Literal["serving", "inference"] | None = None  # the server's metadata tell
    concurrency: int = Field(8, ge=1, le=1024)  # requests of a rank under way at a time
    max_rate: float | None = Field(None, gt=0, allow_inf_nan=False)  # requests a second, of all ranks together
    deadline: float = Field(30.0, gt=0, allow_inf_nan=False)  # seconds, of a try
    give_up: float = Field(120.0, gt=0, allow_inf_nan=False)  # seconds, of a request with all its tries
    echo: str | None = None  # INPUT, or INPUT:OUTPUT, that the model passes through
    rows: bool = False  # REST of TensorFlow Serving: the row format

    @field_validator("endpoint")
    @classmethod
    def _urls(cls, endpoint: Any) -> Any:
        for url in [endpoint] if isinstance(endpoint, str) else endpoint or ():
            parts = urlsplit(url)
            if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
                raise ValueError(f"expected a URL as grpc://HOST:8500, grpcs://, http://HOST:8501 or https://, found {url!r}")
            port = _port(url)
            if parts.scheme.startswith("grpc") and (port is None or parts.path.strip("/")):
                raise ValueError(f"expected {parts.scheme}://HOST:PORT and no path, found {url!r}")
        if endpoint == ():
            raise ValueError("expected at least one URL, found an empty list")
        return endpoint

    @field_validator("version")
    @classmethod
    def _number_or_label(cls, version: Any) -> Any:
        if isinstance(version, int) and version < 0:
            raise ValueError(f"expected 0 or more, found {version}")
        if isinstance(version, str) and not VERSION.fullmatch(version):
            raise ValueError(f"expected a number, a label of letters, digits and -_. or any, found {version!r}")
        return int(version) if isinstance(version, str) and version.isdigit() else version

    @model_validator(mode="after")
    def _somewhere(self) -> ModelSpec:
        if self.endpoint is not None:
            self._check_endpoint()
            return self
        if self.path is None and self.python is None:
            raise ValueError("expected a path, an endpoint, or python: package.module:factory")
        if self.args and self.python is None:
            raise ValueError("args are those of a factory: python: package.module:factory is missing")
        if isinstance(self.version, str):
            raise ValueError(f"version: expected a number, found {self.version!r}: labels are those of an endpoint")
        if named := [key for key in ENDPOINT_KEYS if key in self.model_fields_set]:
            raise ValueError(f"{', '.join(named)}: goes with an endpoint, and with no other model")
        return self

    def _check_endpoint(self) -> None:
        if named := [key for key in OF_FILES if getattr(self, key)]:
            raise ValueError(f"expected endpoint or {named[0]}, found both: a server runs its model as it does")
        if not self.name:
            raise ValueError("endpoint: 'name' is missing: what the server calls the model")
        if len({urlsplit(url).scheme for url in self.endpoints}) > 1:
            raise ValueError("endpoint: expected URLs of one scheme, found several")
        if self.deadline > self.give_up:
            raise ValueError(f"deadline: expected at most give_up ({self.give_up:g} s), found {self.deadline:g}")

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The URLs of an endpoint; none of another model."""
        return (self.endpoint,) if isinstance(self.endpoint, str) else self.endpoint or ()


def _port(url: str) -> int | None:
    """Return the port of a URL.

    Raises: ValueError: it is none.
    """
    return urlsplit(url).port
