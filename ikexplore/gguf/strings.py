"""An array of strings in a GGUF, found fast and decoded when asked for.

A string is a little-endian uint64 length and its bytes, so an array of them can only be walked. The walk of a
150k-token vocabulary takes tens of milliseconds in Python; ``walk`` guesses all positions at once with NumPy and then
checks that every guess follows from the one before, which makes the result exactly that of the walk.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

_U64 = struct.Struct("<Q")
_WINDOW_MIN, _WINDOW_MAX = 1 << 12, 1 << 18  # bytes looked at in one go; grows while guesses hold
_STEPS_MIN, _STEPS_MAX = 16, 1 << 12  # strings walked one by one after a failed guess; grows while guesses fail
MAX_STRINGS = 1 << 22  # in one file; the largest vocabularies and merge lists have less than 2^20


class WalkError(Exception):
    """The string of number ``index`` at ``offset`` does not end inside the file."""

    def __init__(self, index: int, offset: int, length: int):
        self.index, self.offset, self.length = index, offset, length


def walk(data: np.ndarray, start: int, count: int) -> tuple[np.ndarray, int]:
    """Offsets of the length fields of ``count`` strings from ``start``, int64 [count], and the end of the last one.

    data: uint8 [file size]. Raises WalkError for a string that runs over the end.
    """
    parts: list[np.ndarray] = []
    done, pos = 0, start
    window, steps = _WINDOW_MIN, _STEPS_MIN
    while done < count:
        found, all_proved = _guess(data[pos : pos + window], count - done)
        if len(found):
            parts.append(found + pos)
            done += len(found)
            pos += int(found[-1])
            pos += 8 + _U64.unpack_from(data.data, pos)[0]  # proved to end inside
        if all_proved:
            window, steps = min(2 * window, _WINDOW_MAX), _STEPS_MIN
            continue
        window, steps = _WINDOW_MIN, min(2 * steps, _STEPS_MAX)
        offsets, pos = _step(data, pos, done, min(steps, count - done))
        parts.append(offsets)
        done += len(offsets)
    return (np.concatenate(parts) if parts else np.empty(0, np.int64)), pos


def _step(data: np.ndarray, pos: int, done: int, count: int) -> tuple[np.ndarray, int]:
    """``count`` strings from ``pos`` one by one: offsets and the end of the last."""
    offsets: list[int] = []
    view, size = data.data, len(data)
    for _ in range(count):
        length = _U64.unpack_from(view, pos)[0] if pos + 8 <= size else -1
        if length < 0 or length > size - pos - 8:
            raise WalkError(done + len(offsets), pos, length)
        offsets.append(pos)
        pos += 8 + length
    return np.array(offsets, np.int64), pos


def _guess(window: np.ndarray, count: int) -> tuple[np.ndarray, bool]:
    """Offsets of the longest run of strings from byte 0 that the guess finds and proves, at most ``count``; and whether
    it found any and nothing in the window spoke against it.

    A string of 1 to 255 bytes without NULs is preceded by its length byte and seven zeros, one of 256 to 65535 bytes by
    two and six: the candidates are the bytes before each run of zeros. Candidate k is proved when k-1 is, and ends
    exactly at k.
    """
    nothing = np.empty(0, np.int64), False
    if len(window) < 16:
        return nothing
    zero = window[:-7] == 0
    at = np.flatnonzero(zero[1:] & ~zero[:-1])
    if not len(at) or at[0] > 1:
        return nothing
    # unaligned little-endian uint64 at every byte of the window
    words = np.ndarray((len(window) - 7,), "<u8", window, strides=(1,))
    length = words[at]
    two = np.flatnonzero(length > 255)
    at[two] -= at[two] > 0
    length[two] = words[at[two]]
    if at[0] != 0:
        return nothing
    length = np.minimum(length, np.uint64(len(window))).astype(np.int64)
    wrong = np.flatnonzero(at[1:] != at[:-1] + 8 + length[:-1])
    proved = int(wrong[0]) if len(wrong) else len(at) - 1  # strings 0..proved-1 end where the next one starts
    found = at[: min(proved, count)].astype(np.int64)
    return found, bool(len(found)) and (len(found) == count or not len(wrong))


class Strings(Sequence[str]):
    """A read-only list of strings that lie in a file or in memory; decoded one by one when asked for.

    ``raw(i)`` gives the bytes; ``[i]`` text, in which bytes that are no UTF-8 show as U+FFFD.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray):
        self._data, self._offsets = data, offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def raw(self, i: int) -> bytes:
        """The bytes of string ``i``."""
        pos = int(self._offsets[i])
        length = _U64.unpack_from(self._data.data, pos)[0]
        return self._data[pos + 8 : pos + 8 + length].tobytes()

    def raws(self) -> list[bytes]:
        """The bytes of all strings; much faster than one by one."""
        if not len(self._offsets):
            return []
        begin = int(self._offsets[0])
        last = int(self._offsets[-1])
        end = last + 8 + _U64.unpack_from(self._data.data, last)[0]
        blob = self._data[begin:end].tobytes()
        starts = (self._offsets - begin).tolist()
        ends = [*starts[1:], end - begin]
        return [blob[a + 8 : b] for a, b in zip(starts, ends)]

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self.raw(k).decode("utf-8", "replace") for k in range(*i.indices(len(self)))]
        return self.raw(i).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (b.decode("utf-8", "replace") for b in self.raws())

    def packed(self) -> bytes:
        """The strings as a GGUF holds them: length and bytes of each."""
        return b"".join(part for b in self.raws() for part in (_U64.pack(len(b)), b))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            return self.raws() == other.raws()
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self):
        return _from_raws, (self.raws(),)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"<{len(self)} strings: {shown}{', ...' if len(self) > 3 else ''}>"


def _from_raws(raws: list[bytes]) -> Strings:
    """Strings of these bytes, in memory."""
    blob = b"".join(part for b in raws for part in (_U64.pack(len(b)), b))
    sizes = np.array([8 + len(b) for b in raws], np.int64)
    return Strings(np.frombuffer(blob, np.uint8), np.cumsum(sizes) - sizes)
