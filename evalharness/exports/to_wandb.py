"""A run in Weights & Biases: summary, config, a table of the compared metrics, and the reports as an artefact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalharness._lazy import require
from evalharness.errors import StoreError
from evalharness.exports.rows import COMPARISON_COLUMNS
from evalharness.exports.tracking import Tracked


def log_to_wandb(
    tracked: Tracked, *, project: str, folder: Path, compared: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Make one run. `WANDB_MODE=offline` writes it under `folder`, for `wandb sync` to send later.

    No code, git state, host facts or console output is taken along.

    Args:
        tracked: what it holds.
        project: made where there is none of this name.
        folder: where its local files go.
        compared: rows of `COMPARISON_COLUMNS`, shown as a table.

    Returns:
        The folder of its files, or its address.

    Raises:
        MissingExtraError: wandb is not installed. StoreError: it refused, or cannot be reached; says why.
    """
    wandb = require("wandb", extra="wandb", why="export to Weights & Biases")
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=project,
            name=tracked.name,
            dir=str(folder),
            config=dict(tracked.params),
            tags=[
                f"{key}:{value}"[:64] for key, value in tracked.tags.items() if not key.startswith("status.")
            ],
            settings=settings,
            reinit="create_new",
        )
        try:
            if run.disabled:
                raise StoreError(
                    "Weights & Biases: WANDB_MODE=disabled writes nothing; take online or offline"
                )
            run.summary.update({**tracked.tags, **tracked.metrics})
            if compared:
                columns = list(COMPARISON_COLUMNS)
                rows = [[row[name] for name in columns] for row in compared]
                run.log({"comparison": wandb.Table(columns=columns, data=rows)})
            if tracked.files:
                artifact = wandb.Artifact(f"evalharness-{run.id}", type="evaluation")
                for path in tracked.files.values():
                    artifact.add_file(str(path))
                run.log_artifact(artifact)
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish()
    except (wandb.errors.Error, OSError) as error:
        told = " ".join(str(error).split())[:400]
        raise StoreError(
            f"Weights & Biases: {told}; log in (wandb login), or set WANDB_MODE=offline and run wandb sync later"
        ) from error
    return str(Path(run.dir).parent if run.offline else run.url)
