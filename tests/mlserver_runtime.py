"""MLServer's runtime of a SavedModel, run by MLServer in an environment of its own: see `tests/models/test_mlserver.py`."""

import asyncio

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class SavedModel(MLModel):
    """Serves the signature serving_default."""

    async def load(self) -> bool:
        self._function = tf.saved_model.load(self.settings.parameters.uri).signatures["serving_default"]
        return True

    async def predict(self, payload):
        tensors = {tensor.name: tf.constant(NumpyCodec.decode_input(tensor)) for tensor in payload.inputs}
        outputs = await asyncio.to_thread(lambda: {name: tensor.numpy() for name, tensor in self._function(**tensors).items()})
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version,
            outputs=[NumpyCodec.encode_output(name, array) for name, array in outputs.items()],
        )  # fmt: skip
