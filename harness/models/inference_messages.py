"""The messages of the Open Inference Protocol over gRPC, built here from their field numbers, in a pool of their own.

Source: KServe, grpc_predict_v2.proto. Other packages register the same names in the common pool; ours do not meet them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Messages"]

PACKAGE = "inference"
# By message: its fields as NUMBER NAME TYPE, repeated ones with a star; a type with a point is a message.
FIELDS = {
    "ModelMetadataRequest": "1 name string; 2 version string",
    "ModelMetadataResponse": "1 name string; 2 versions string*; 3 platform string; 4 inputs .TensorMetadata*; "
    "5 outputs .TensorMetadata*",
    "TensorMetadata": "1 name string; 2 datatype string; 3 shape int64*",
    "InferTensorContents": "1 bool_contents bool*; 2 int_contents int32*; 3 int64_contents int64*; 4 uint_contents uint32*; "
    "5 uint64_contents uint64*; 6 fp32_contents float*; 7 fp64_contents double*; 8 bytes_contents bytes*",
    "ModelInferRequest": "1 model_name string; 2 model_version string; 3 id string; 5 inputs .Tensor*; "
    "7 raw_input_contents bytes*",
    "ModelInferResponse": "1 model_name string; 2 model_version string; 3 id string; 5 outputs .Tensor*; "
    "6 raw_output_contents bytes*",
    "Tensor": "1 name string; 2 datatype string; 3 shape int64*; 5 contents .InferTensorContents",
}
CONTENTS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class Messages:
    """The classes of the messages, by name: `Messages().ModelInferRequest`.

    Parameters of requests and tensors are left out: what a message does not know of, protocol buffers pass over.

    >>> request = Messages().ModelInferRequest(model_name="m", id="7")
    >>> Messages().ModelInferRequest.FromString(request.SerializeToString()).id
    '7'
    """

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        file = descriptor_pb2.FileDescriptorProto(name="harness/inference.proto", package=PACKAGE, syntax="proto3")
        kinds = descriptor_pb2.FieldDescriptorProto
        for message, fields in FIELDS.items():
            described = file.message_type.add(name=message)
            for field in fields.split("; "):
                number, name, kind = field.split()
                label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
                added = described.field.add(name=name, number=int(number), label=label)
                kind = kind.rstrip("*")
                if kind.startswith("."):
                    added.type, added.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}{kind}"
                else:
                    added.type = getattr(kinds, f"TYPE_{kind.upper()}")
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in FIELDS
        }

    def __getattr__(self, name: str) -> Any:
        return self._classes[name]
