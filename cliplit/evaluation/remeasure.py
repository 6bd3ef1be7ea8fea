"""The figure that decides about a promotion, of any weights on the photos of today."""

from __future__ import annotations

from pathlib import Path

from cliplit.config import load_params
from cliplit.errors import UserError


def remeasure(project: Path, weights: Path) -> float:
    """params.yaml's promotion.metric of ``weights``, measured as the stage evaluate does."""
    from cliplit.enhancer import Enhancer  # torch takes seconds to import, and mostly nothing is measured again
    from cliplit.evaluation import evaluate

    params = load_params(project / "params.yaml")
    table = evaluate.measure(params, project, Enhancer.load(weights, params.device))
    figures = evaluate.figures(table)
    metric = params.promotion.metric
    if metric not in figures:
        raise UserError(f"params.yaml: promotion.metric is '{metric}', which the evaluation lacks; use one it has")
    return figures[metric]
