"""Startup figures that people posted: what the planner makes of their commands."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
from corpus_plans import records, results

#: runs that differ, and why: builds of pull requests that were never part of the engine
KNOWN = {"p430-L45": "adds instead of MULTI_ADD"}


def test_posted_figures():
    found = results(records())
    assert len(found) == 88
    comparable = [r for r in found if not r.why_not]
    assert len(comparable) >= 53
    assert {r.id for r in comparable if not r.exact} == set(KNOWN)
    assert [r.why_not for r in found if r.why_not.startswith("refused")] == []
    # compute buffers: every line, but of two files whose types per layer no log tells
    assert {r.id for r in comparable if r.exact and r.compute[0] != r.compute[1]} == {"i398-L1012", "p394-L201"}
    assert sum(r.compute[1] for r in comparable) > 100
