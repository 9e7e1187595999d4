"""What the benches have in common: Markdown tables, and files of figures."""
from __future__ import annotations

import json
import pathlib
from typing import Any, Sequence


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head; all columns but the first are figures."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
             for row in rows]
    rule = "|" + "|".join("-" * (w + 2) if not i else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def write_json(path: str, figures: dict[str, Any]) -> None:
    pathlib.Path(path).write_text(json.dumps({"schema_version": 1, **figures}, indent=1) + "\n")
