"""Reading YAML files as plain data."""

from pathlib import Path
from typing import Any

import yaml

from segattn.io.error_text import one_line


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Nothing in it is executed.

    Raises:
        ValueError: without the name of the file, if it is not valid YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(one_line(error)) from error
