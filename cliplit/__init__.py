"""cliplit relights backlit photos: ``from cliplit import Enhancer; Enhancer.load()("in.jpg").save("out.jpg")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cliplit.enhancer import Enhancer

__all__ = ["Enhancer"]


def __getattr__(name: str) -> Any:
    """Import the enhancer when somebody asks for it: it brings torch along, which takes seconds."""
    if name == "Enhancer":
        from cliplit.enhancer import Enhancer

        return Enhancer
    raise AttributeError(f"module 'cliplit' has no attribute '{name}'")
