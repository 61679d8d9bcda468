"""The one typed configuration: defaults, then a TOML file, then flags.

settings   the dataclasses: each field with its default, range and documentation
schema     the fields as the TOML file and the flags see them; checks of values; suggestions: the name that was meant
conflicts  settings that contradict each other
toml       TOML files, read and written; recipes: those that come with catdog, by name
"""

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
