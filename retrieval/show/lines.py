"""Plain lines for a terminal: status, failures, models, and the honest empty answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retrieval.errors import FAILURE_REASONS
from retrieval.show.table import display_path, percent, safe_name

if TYPE_CHECKING:
    from retrieval.models import ModelInfo
    from retrieval.types import Failure, Hits, Status, TextHit, TextHits

CLOSEST = 3
LONGEST_TEXT = 60


def status_lines(status: Status) -> list[str]:
    lines = [
        f"Catalog   {safe_name(status.catalog)} ({size(status.db_bytes)})",
        f"Pictures  {status.images:,}" + (f", and {status.missing:,} missing" if status.missing else ""),
    ]
    if status.failures:
        lines.append(f"Failures  {status.failures:,} (see: search failures)")
    if status.texts:
        lines.append(f"Texts     {status.texts:,}")
    for encoder in status.encoders:
        state = "in use" if encoder["active"] else encoder["state"]
        lines.append(f"Model     {encoder['model']}, {encoder['images']:,} pictures, {state}")
    for root in status.roots:
        away = "" if root["online"] else " (not there now)"
        lines.append(f"Folder    {safe_name(root['path'])}, {root['images']:,} pictures{away}")
    if status.encoder is not None:
        fresh = "fresh" if status.cache_fresh else "behind; the next query catches it up"
        recall = next((encoder["recall"] for encoder in status.encoders if encoder["active"]), None)
        found = "" if recall in (None, 1.0) else f", finds {recall:.1%} of the ten best"
        lines.append(f"Store     {status.store}, {fresh}{found}")
    return lines


def report_line(report: dict[str, Any], *, dry_run: bool) -> str:
    """What an indexing run did, in a line."""
    named = [
        f"{report[key]} {key}" for key in ("added", "updated", "moved", "missing", "failed") if report[key]
    ]
    if report["unchanged"] or not named:
        named.append(f"{report['unchanged']} unchanged")
    what = ", ".join(named)
    if report["images_per_second"] and not (report["added"] or report["updated"]):
        what += f", embedded by {report['encoder']},"
    if dry_run:
        return f"Would be: {what}."
    end = " Interrupted; run the same command to go on." if report["interrupted"] else ""
    return f"{what} in {report['seconds']:.1f} s.{end}"


def failure_line(failure: Failure) -> str:
    why = FAILURE_REASONS.get(failure.reason, "")
    detail = safe_name(failure.detail) if failure.detail else why
    return f"{failure.reason:13} {safe_name(str(failure.path))}: {detail}"


def nothing_line(hits: Hits) -> str:
    if not hits.closest:
        return "Nothing was found: no picture passes. Loosen the filters, or index more folders."
    near = ", ".join(
        f"{safe_name(display_path(str(hit.path)))} ({hit.match:.2f})" for hit in hits.closest[:CLOSEST]
    )
    return f"No good match. Closest are {near}. Show them: --all"


def text_lines(hits: Sequence[TextHit]) -> list[str]:
    """A line a text: its match, then what it says."""
    return [f"{hit.rank:>3}  {percent(hit.match):>4}  {safe_name(hit.text)}" for hit in hits]


def no_text_line(hits: TextHits) -> str:
    if not hits.closest:
        return "The catalog holds no texts yet. Add some: search texts add FILE"
    near = ", ".join(f"'{_cut(hit.text)}' ({hit.match:.2f})" for hit in hits.closest[:CLOSEST])
    return f"No text fits well. Closest are {near}. Show them: --all"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def model_lines(models: Sequence[ModelInfo]) -> list[str]:
    """A block a model: what it is for, whether it is here, and figures where there are any."""
    lines: list[str] = []
    for model in models:
        lines.append(f"{model.name}  [{model.here}]")
        lines.append(f"    {model.purpose}")
        facts = [
            f"{model.dim} dimensions" if model.dim else "",
            f"{model.download_mb} MB to fetch" if model.download_mb and model.here == "no" else "",
            f"text to image R@5: Flickr {model.flickr_r5:.3f}, COCO {model.coco_r5:.3f}"
            if model.flickr_r5 and model.coco_r5
            else "",
            f"nDCG@10 {model.ndcg10:.3f} on the development set" if model.ndcg10 else "",
            f"{model.images_per_second:.1f} pictures/s here" if model.images_per_second else "",
            model.run_by,
            model.licence or "",
        ]
        lines.append("    " + " · ".join(fact for fact in facts if fact))
        if model.spec != model.name:
            lines.append(f"    {model.spec}")
        if model.note:
            lines.append(f"    {model.note}")
    return lines


def size(count: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    raise AssertionError
