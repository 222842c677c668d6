"""The folder of a ranking: three files, each complete or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evalharness.errors import UsageError
from evalharness.report.rank_view import RankReport
from evalharness.store.files import explain, write_text

FILES: Final = ("ranking.json", "ranking.html", "ranking.md")
_MANIFEST: Final = "manifest.json"


def write_ranking(report: RankReport, directory: Path) -> dict[str, Path]:
    """Write `ranking.json`, `ranking.html` and `ranking.md` under `directory`, made when missing.

    Returns:
        file name → path.

    Raises:
        StoreError: a file cannot be written.
    """
    from evalharness.report.rank_html import rank_html
    from evalharness.report.rank_json import rank_json
    from evalharness.report.rank_markdown import rank_markdown

    paths = {}
    for name, render in zip(FILES, (rank_json, rank_html, rank_markdown), strict=True):
        paths[name] = directory / name
        write_text(paths[name], render(report))
    return paths


def clear_ranking(directory: Path) -> None:
    """Remove an earlier ranking, so that one that fails leaves no old one behind.

    Raises:
        UsageError: a run or a comparison lies there. StoreError: a file cannot be removed.
    """
    try:
        if (directory / _MANIFEST).exists():
            raise UsageError(
                f"{directory}: a run or a comparison lies there; choose another folder with --out"
            )
        for name in FILES:
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise explain(error, directory, "remove an earlier ranking") from error
