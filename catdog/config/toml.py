"""Reads the configuration from a TOML file, and writes it as one, with comments."""

import json
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catdog.config.schema import SECTIONS, convert, fields, validate
from catdog.config.settings import Config
from catdog.errors import CatdogError


def load_config(path: str | Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Load the configuration: defaults, overridden by the TOML file at `path`, then by `flags` (field name to value).

    `path` may be the name of a recipe of catdog's own, such as "fast". Raises CatdogError naming the unknown, ill-typed
    or out-of-range field, with the most similar valid name.
    """
    values: dict[str, Any] = {}
    if path:
        from catdog.config.recipes import find_config

        path, called = find_config(path)
        try:
            values.update(_read_toml(path.read_text(encoding="utf-8"), called))
        except OSError as error:
            raise CatdogError(f"cannot read the configuration {path}: {error.strerror}; check the path.") from None
        except UnicodeDecodeError:
            raise CatdogError(f"{path} is not a TOML file: it is not text.") from None
    values.update(flags or {})
    return validate(_build(values))


def parse_config(text: str, name: str, changes: Mapping[str, Any] | None = None) -> Config:
    """Parse and validate the TOML `text`, overridden by `changes`; `name` is what error messages call it."""
    return validate(_build({**dict(_read_toml(text, name)), **(changes or {})}))


def _build(values: Mapping[str, Any]) -> Config:
    known = fields()
    by_section: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        by_section[known[name].section][name] = convert(known[name], value)
    sections = {section: cls(**by_section[section]) for section, cls in SECTIONS.items()}
    return Config(**sections, given=frozenset(values))


def _read_toml(text: str, path: str) -> Iterator[tuple[str, Any]]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also from huge integers or deeply nested brackets
        from catdog.config.suggestions import line_of

        raise CatdogError(f"{path} is not valid TOML: {error}{line_of(text, str(error))}.") from None
    for section, table in document.items():
        if section not in SECTIONS:
            raise _unknown(path, f"section [{section}]", section, SECTIONS)
        if not isinstance(table, dict):
            raise CatdogError(f"{path}: {section} must be a section, [{section}], with its fields below it.")
        for name, value in table.items():
            known = [f.name for f in fields().values() if f.section == section]
            if name in known:
                yield name, value
            elif name in fields():
                raise CatdogError(f"{path}: {name} belongs in section [{fields()[name].section}], not [{section}].")
            else:
                raise _unknown(path, f"field {name} in [{section}]", name, known)


def _unknown(path: str, what: str, name: str, known: Iterable[str]) -> CatdogError:
    from catdog.config.suggestions import did_you_mean  # which nobody needs who makes no mistake

    return CatdogError(f"{path}: unknown {what}{did_you_mean(name, known)}")


def to_toml(config: Config) -> str:
    """Format `config` as a commented TOML file, which `load_config` reads back to an equal Config."""
    lines = []
    for section, cls in SECTIONS.items():
        lines += [f"# {' '.join((cls.__doc__ or '').split())}", f"[{section}]"]
        for f in fields().values():
            if f.section == section:
                lines += textwrap.wrap(f.doc, 110, initial_indent="# ", subsequent_indent="# ")
                lines.append(f"{f.name} = {_toml_value(getattr(getattr(config, section), f.name))}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, str):
        # A TOML basic string has the escapes of JSON, except that TOML also requires DEL to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
