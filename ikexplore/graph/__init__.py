"""Compute graphs as columns: one graph for the memory planner, the forecaster and the executor."""

from .graph import Graph, Node
from .invariants import broken

__all__ = ["Graph", "Node", "broken"]
