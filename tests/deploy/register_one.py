"""Register one model in the registry that MLFLOW_TRACKING_URI names, and let it reign: ``register_one.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from serve_project import Project

folder = Path(sys.argv[1])
folder.mkdir()
print(Project(folder).promote(1).number)
