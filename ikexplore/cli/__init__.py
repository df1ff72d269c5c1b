"""The command line: thin, one function a command. Exit code 0 done, 1 the question's answer is no, 2 bad input.

3 is a fault of this program (with its traceback), 130 a stop by Ctrl-C.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from ..errors import IkexploreError
from .parser import parser
from .shared import BAD, BROKEN, DONE, INTERRUPTED

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Every bad input is one line on stderr and code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    try:
        options = parser().parse_args(words[:cut])
        options.flags = words[cut + 1 :]
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except IkexploreError as error:
        print(f"ikexplore: {_one_line(error)}", file=sys.stderr)
        return BAD
    except KeyboardInterrupt:
        print("ikexplore: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        print(f"ikexplore: {_one_line(error)}", file=sys.stderr)
        return BAD
    except Exception:  # a fault of this program; code 1 would read as an answer
        traceback.print_exc()
        return BROKEN


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
