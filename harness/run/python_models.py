"""What a script hands over as models: one or several, each an object of Python or what a job would say of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import Feature
from harness.errors import ModelError
from harness.job.job import Job
from harness.job.specs import ModelSpec
from harness.models.files import joined
from harness.prepare.opened import Opened
from harness.prepare.prepare import load_model

__all__ = ["GivenModels", "bound_in_order"]

ONLY = ""  # the name of a job's only model


@dataclass(frozen=True)
class GivenModels:
    """The models of an evaluation. Loads TensorFlow where one of them is an object.

    Attributes:
      keys: `model` or `models` as a job has them.
      objects: those that are in memory, by name; the name of a job's only model is "".
      described: what to call these in messages, by name.
    """

    keys: Mapping[str, Any]
    objects: Mapping[str, Any]
    described: Mapping[str, str]

    @classmethod
    def of(cls, model: Any) -> GivenModels:
        """Take a model, or several by name."""
        several = _is_several(model)
        models = {str(name): candidate for name, candidate in model.items()} if several else {ONLY: model}
        objects = {name: candidate for name, candidate in models.items() if not _is_spec(candidate)}
        described = {name: _describe(candidate) for name, candidate in objects.items()}
        specs = {name: f"given: {described[name]}" if name in objects else _spec(models[name]) for name in models}
        return cls({"models": specs} if several else {"model": specs[ONLY]}, objects, described)

    def load(self, job: Job, opened: Opened, features: Mapping[str, Feature]) -> Any:
        """Load the models, several as one.

        Args:
          features: those that functions take.
        Raises: ModelError: see `from_object` and `load`.
        """
        if not self.objects:
            return load_model(job, opened)
        from harness.models.python_objects import from_object

        own = {}
        for name, candidate in self.objects.items():
            try:
                own[name] = from_object(candidate, features)
            except ModelError as exc:
                if not name:
                    raise
                raise ModelError(f"models.{name}: {exc}") from exc
        return load_model(job, opened, own)

    def variables(self) -> list[Any]:
        """Return the variables that predictions of the objects depend on."""
        return [variable for name in self.objects for variable in self._variables(name)]

    def digest(self, job: Job, opened: Opened, canary: int) -> str:
        """Return the digest of the models: of files, of weights, or of what functions say of the first batch.

        Args:
          canary: the hash of what all models say of it.
        """
        if not self.objects:
            return opened.digests["model"]
        own = {name: self._digest(name, canary) for name in self.objects}
        return joined({name: own.get(name) or opened.model_digests[name] for name in job.named_models})

    def _digest(self, name: str, canary: int) -> str:
        from harness.models.python_objects import digest

        variables = self._variables(name)
        return digest(variables) if variables else hashlib.sha256(str(canary).encode()).hexdigest()

    def _variables(self, name: str) -> list[Any]:
        from harness.models.python_objects import weights

        return weights(self.objects[name])


def bound_in_order(model: Any, names: Sequence[str] | None) -> dict[str, str] | None:
    """Bind the inputs of each model to features in the order in which these were given.

    Returns: the feature by input; None where there is no order, or a model has another number of inputs.
    Raises: ModelError: two models have an input of one name at different places.
    """
    inputs_of_models = list(model.models.values()) or [tuple(model.inputs)]
    if names is None or any(len(inputs) != len(names) for inputs in inputs_of_models):
        return None
    bound: dict[str, str] = {}
    for inputs in inputs_of_models:
        for name, feature in zip(inputs, names, strict=True):
            if bound.setdefault(name, feature) != feature:
                raise ModelError(
                    f"data: input '{name}' is not at the same place in all models, and arrays in a tuple are taken in their "
                    f"order: give them by name, as in ({{'{name}': array, ...}}, y)"
                )
    return bound


def _is_several(model: Any) -> bool:
    """Say whether models are given by name: no key is one of a model section, or a value is an object."""
    if not isinstance(model, Mapping):
        return False
    values = (str, os.PathLike, int, float, list, tuple, Mapping, type(None))  # of a model section
    return not set(model) & set(ModelSpec.model_fields) or not all(isinstance(value, values) for value in model.values())


def _is_spec(candidate: Any) -> bool:
    """Say whether a model is what a job says of one: a path or a model section."""
    return isinstance(candidate, str | os.PathLike | Mapping)


def _spec(candidate: Any) -> Any:
    return str(candidate) if isinstance(candidate, Path) else candidate


def _describe(candidate: Any) -> str:
    from harness.models.python_objects import describe

    return describe(candidate)
