"""What was read from each posted log, kept as JSON beside the tests; ``python tests/logs/goldens.py FOLDER`` renews them."""

import json
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data" / "logs"


def golden(runs: Any) -> dict[str, Any]:
    """Runs as in their golden: without the settings (another room's), long metadata, and the text of unread lines."""
    found = []
    for run in runs:
        facts = run.to_dict()
        facts.pop("settings", None)
        facts["unread"] = [line for line, _ in run.unread]
        startup = facts.get("startup", {})
        for name in ("metadata", "system_info"):
            if name in startup:
                startup[name] = len(startup[name])
        found.append(facts)
    return {"runs": found, "prose": [line for line, _ in runs.prose], "n_lines": runs.n_lines}


def written(facts: dict[str, Any]) -> str:
    """One line per run, so that a change shows where it is."""
    lines = [json.dumps(run, ensure_ascii=False) for run in facts["runs"]]
    rest = {key: value for key, value in facts.items() if key != "runs"}
    return '{"runs": [\n' + ",\n".join(lines) + "\n],\n" + json.dumps(rest)[1:] + "\n"


def main() -> None:
    """Writes a golden for each log of a folder; look at the difference before you believe it."""
    from ikexplore.logs import read

    for path in sorted(Path(sys.argv[1]).glob("[0-9][0-9]-*")):
        (DATA / f"{path.name.split('.')[0]}.json").write_text(written(golden(read(path))), encoding="utf-8")


if __name__ == "__main__":
    main()
