"""Errors that a user can act on: one line that names the value, the rule and what to do."""


class IkexploreError(ValueError):
    """Bad input. The message is one line, fit for a terminal and for the panel."""


class GGUFError(IkexploreError):
    """A file that is not a readable GGUF: names the byte offset and the rule that it breaks."""


class SettingsError(IkexploreError):
    """A switch with a value that makes no sense: names the flag and what it accepts."""


class ModelError(IkexploreError):
    """A model that this engine cannot run or plan: names the architecture, tensor or type."""


class QuantError(IkexploreError):
    """Bytes, shapes or values that a quant type cannot take."""


class Cancelled(Exception):
    """A run was told to stop; what was finished before is kept by whoever catches it."""
