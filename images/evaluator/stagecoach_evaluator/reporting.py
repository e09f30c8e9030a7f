"""TEMPORARY until the report is here."""

from typing import Any


def files(job: Any, who: Any, seen: Any, judged: Any, record: Any) -> dict[str, bytes]:
    return {"report.json": record.model_dump_json().encode(), "report.html": b"<p>"}
