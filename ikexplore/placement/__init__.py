"""Override rules and layer assignment: where each tensor and each layer's KV cache lives."""

from .place import Placement, place

__all__ = ["Placement", "place"]
