"""A first-fit arena of byte offsets, for values whose lifetimes are known while a graph is lowered."""

ALIGN = 64


class Arena:
    """Offsets of blocks; ``size`` is the highest end ever reached. Blocks are multiples of 64 bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (offset, bytes), in order, never adjacent
        self._used: dict[int, int] = {}

    def take(self, nbytes: int) -> int:
        """Offset of a new block of at least ``nbytes``."""
        need = max(ALIGN, -(-nbytes // ALIGN) * ALIGN)
        fits = [(size, at, i) for i, (at, size) in enumerate(self._free) if size >= need]
        if fits:
            size, at, i = min(fits)
            self._free[i : i + 1] = [(at + need, size - need)] if size > need else []
        else:
            at = self.size
            if self._free and sum(self._free[-1]) == self.size:
                at = self._free.pop()[0]
            self.size = at + need
        self._used[at] = need
        return at

    def give(self, offset: int) -> None:
        """Free the block that starts at ``offset``. Raises KeyError where none does."""
        self._free.append((offset, self._used.pop(offset)))
        merged: list[tuple[int, int]] = []
        for at, size in sorted(self._free):
            if merged and sum(merged[-1]) == at:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((at, size))
        self._free = merged
