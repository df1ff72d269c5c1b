"""How functions are compiled that only ever become part of others.

numba optimises every function it compiles, turns it into machine code, and does so again in each of its callers, with all
that they call: a piece of an op five calls deep costs five times. A piece is never run on its own, so it is only kept as
LLVM's intermediate form, and is optimised once, within the op.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _WithoutEnvironments:
    """A codegen that is not told of Python objects that a function needs: pieces are not in memory, and need none."""

    def __init__(self, codegen: Any):
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, env: Any) -> None:
        pass


class PieceLibrary(JITCodeLibrary):
    """A library for linking into others only."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def codegen(self) -> Any:
        return _WithoutEnvironments(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class Piece(Compiler):
    """numba's usual passes; what they make goes into a ``PieceLibrary``."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, args: Any, return_type: Any, flags: Any, locals: Any):
        library = library or PieceLibrary(targetctx.codegen(), "piece")
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
