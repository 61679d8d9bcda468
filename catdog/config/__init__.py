"""The configuration: dataclasses with defaults (settings.py), validation (schema.py), TOML files (toml.py)."""

from catdog.config.schema import Field, fields, validate
from catdog.config.settings import Augment, Config, Model, Photos, Run, Training
from catdog.config.toml import load_config, parse_config, to_toml

__all__ = [
    "Augment",
    "Config",
    "Field",
    "Model",
    "Photos",
    "Run",
    "Training",
    "fields",
    "load_config",
    "parse_config",
    "to_toml",
    "validate",
]
