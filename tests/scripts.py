"""Scripts of the recipes as modules, so that tests can call what is in them."""

import importlib.util
from pathlib import Path
from types import ModuleType

RECIPES = Path(__file__).parents[1] / "recipes"


def load_script(path: Path) -> ModuleType:
    """The script, run as a module and not as a program."""
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
