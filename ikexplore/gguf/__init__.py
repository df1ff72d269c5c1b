"""GGUF files: headers and bytes, no meaning."""

from .mapped import Mapped
from .read import GGUF, TensorEntry, read
from .strings import Strings
from .types import BY_ID, TYPES, TypeInfo, row_bytes, tensor_bytes, type_info
from .values import Metadata
from .write import write

__all__ = [
    "BY_ID",
    "GGUF",
    "TYPES",
    "Mapped",
    "Metadata",
    "Strings",
    "TensorEntry",
    "TypeInfo",
    "read",
    "row_bytes",
    "tensor_bytes",
    "type_info",
    "write",
]
