"""From artifacts/model to a model version in MLflow: code, safetensors, signature, example and card, no pickle."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from PIL import Image

from cliplit.errors import UserError
from cliplit.lineage import mlflow_store as store
from cliplit.lineage import runs

ARTIFACT = "artifacts/model"  # where MLflow puts the artifact called "model" inside a model folder
PICTURE = "before_after.jpg"  # beside the model's README.md
Draw = Callable[[Path], Image.Image | None]
_LIBRARIES = ("cliplit", "mlflow", "torch", "safetensors", "pillow", "numpy", "pandas")


def create_version(
    client: Any,
    project: Path,
    name: str,
    folder: Path,
    md5: str,
    dataset: str | None,
    metrics: dict[str, float],
    draw: Draw | None = None,
) -> Any:
    """Package ``folder`` and register it under ``name``; the version appears complete, tags and card included."""
    picture = _drawn(draw, project)
    experiment = store.experiment_id(client, project)
    tags = {"cliplit.stage": "challenger", "dvc.md5": md5} | runs.lineage_tags(project, dataset)
    parent = runs.parent_of_model(client, experiment, project, md5)
    run = client.create_run(experiment, run_name="challenger", tags=tags | {"mlflow.parentRunId": parent})
    try:
        with tempfile.TemporaryDirectory(prefix="cliplit-") as temporary:
            model = Path(temporary) / "model"
            save_model(folder, model)
            if picture:
                picture.convert("RGB").save(model / PICTURE, quality=85)
            card = model_card(project, md5, dataset, metrics, PICTURE if picture else None)
            (model / "README.md").write_text(card, encoding="utf-8")
            client.log_artifacts(run.info.run_id, str(model), "model")
        runs.keep_lock(client, project, run.info.run_id, parent)
        _ensure_registered(client, name)
        # MLflow's page shows pictures that its own server has, and drops those that stand in the text (data:).
        shown = f"get-artifact?path=model%2F{PICTURE}&run_uuid={run.info.run_id}" if picture else None
        card = model_card(project, md5, dataset, metrics, shown)
        version = client.create_model_version(
            name, f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=tags, description=card
        )
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric, value)
        client.set_terminated(run.info.run_id, "FINISHED")
        client.set_terminated(parent, "FINISHED")
        return version
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise


def _drawn(draw: Draw | None, project: Path) -> Image.Image | None:
    """The picture; one that cannot be drawn must not cost the registration."""
    try:
        return draw(project) if draw else None
    except Exception as error:
        store.log.warning("the model card has no picture: %s", error)
        return None


def save_model(folder: Path, target: Path) -> None:
    """Write a pyfunc model folder at ``target`` around the weights in ``folder``; it holds no path of this machine."""
    store.prepare(patient=True)
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("binary", "photo")]),
        outputs=Schema([ColSpec("binary", "photo")]),
        params=ParamSchema([ParamSpec("strength", "double", 1.0)]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the example it asks for is added below
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(server_file("enhancer.py")),
            artifacts={"model": str(folder.resolve())},
            signature=signature,
            pip_requirements=[f"{library}=={installed(library)}" for library in _LIBRARIES],
        )
    description = target / "MLmodel"
    content = yaml.safe_load(description.read_text(encoding="utf-8"))
    flavor = content["flavors"]["python_function"]
    flavor["artifacts"]["model"]["uri"] = ARTIFACT
    flavor["model_code_path"] = "enhancer.py"  # beside MLmodel; MLflow writes where it came from
    _add_example(target, content)
    description.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def model_card(
    project: Path, md5: str, dataset: str | None, metrics: dict[str, float], picture: str | None = None
) -> str:
    """The model card in Markdown, filled from params.yaml, dvc.lock, the metrics and git; ``picture`` is an address."""
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    template = jinja2.Template(server_file("model_card.md").read_text(encoding="utf-8"), keep_trailing_newline=True)
    return template.render(
        md5=md5,
        dataset_md5=dataset,
        commit=store.git_commit(project),
        metrics=dict(sorted(metrics.items())),
        params=runs.flatten(params),
        outputs=store.all_locked_outputs(project),
        picture=picture,
    )


def example_photo() -> bytes:
    """A small PNG: a dark figure before a bright sky."""
    rows, columns = np.mgrid[0:48, 0:64]
    sky = np.stack([170 + rows, 200 + rows // 2, np.full_like(rows, 250)], axis=-1)
    figure = ((rows - 30) / 22) ** 2 + ((columns - 32) / 14) ** 2 < 1
    pixels = np.where((figure | (rows > 40))[..., None], 20 + rows[..., None] // 3, sky).clip(0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def server_file(name: str) -> Path:
    """A file of the folder mlflow/ that stands beside the package."""
    path = Path(__file__).resolve().parents[2] / "mlflow" / name
    if not path.is_file():
        raise UserError(f"{path}: it is missing; install cliplit from its repository (pip install -e .)")
    return path


def _add_example(target: Path, content: dict[str, Any]) -> None:
    """The input example as MLflow stores one; written here, because MLflow would run the model to make it."""
    text = base64.b64encode(example_photo()).decode("ascii")
    example = {"columns": ["photo"], "data": [[text]]}
    (target / "input_example.json").write_text(json.dumps(example), encoding="utf-8")
    serving = {"dataframe_split": example, "params": {"strength": 1.0}}
    (target / "serving_input_example.json").write_text(json.dumps(serving, indent=2), encoding="utf-8")
    content["saved_input_example_info"] = {
        "artifact_path": "input_example.json",
        "pandas_orient": "split",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
    }


def _ensure_registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Relights photos taken against the light (cliplit).")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
