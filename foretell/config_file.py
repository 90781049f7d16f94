"""A YAML file and the environment, as one mapping that remembers where each value stands."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

ENVIRONMENT_PREFIX = "FORETELL_"
_NESTING = "__"
_Path = tuple[Hashable, ...]
_TEXT_WANTED = frozenset({"string_type", "string_sub_type"})
_EXCERPT = 60
_SECRETS = ("password", "url", "token", "secret")


class ConfigError(Exception):
    """The configuration cannot be used; a line for each problem, with file and line where there is one."""


class ConfigFile:
    r"""What a file and the environment say, and where.

    Args:
        name: how the file is called in errors.
        text: the YAML; empty where there is no file.
        environment: `FORETELL_<SECTION>__<KEY>` overrides the file.

    Raises:
        ConfigError: the text is no YAML mapping, names a key twice, or has a key that is no text.

    >>> file = ConfigFile("foretell.yaml", "kafka:\n  bootstrap: 10.0.0.1:9092\n", {"FORETELL_KAFKA__GROUP": "night"})
    >>> file.values, file.place(("kafka", "bootstrap")), file.place(("kafka", "group"))
    ({'kafka': {'bootstrap': '10.0.0.1:9092', 'group': 'night'}}, 'foretell.yaml:2', 'environment FORETELL_KAFKA__GROUP')
    """

    def __init__(self, name: str, text: str, environment: Mapping[str, str]) -> None:
        self._name = name
        self._places: dict[_Path, str] = {}
        self._as_written: dict[_Path, str] = {}
        self.values: dict[str, Any] = self._parse(text)
        self._overlay(environment)

    @classmethod
    def read(cls, path: Path | None, environment: Mapping[str, str]) -> ConfigFile:
        """Return what the file at `path` says; without a path, the environment alone.

        Raises:
            ConfigError: the file cannot be read, or as above.
        """
        if path is None:
            return cls("the defaults", "", environment)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise ConfigError(f"cannot read the configuration {str(path)!r}: {why}") from error
        return cls(str(path), text, environment)

    def place(self, path: _Path) -> str:
        """Return where the value at `path` stands, or the nearest thing around it."""
        known: _Path = ()
        for step in path:  # a union's name in a path is none of ours: step over it
            if (*known, step) in self._places:
                known = (*known, step)
        return self._places.get(known, self._name)

    def explain(self, error: ValidationError) -> ConfigError:
        """Return an error with a line for each problem: where, which key, what was expected, what came."""
        return ConfigError("\n".join(self._sentence(problem) for problem in error.errors(include_url=False)))

    def _sentence(self, problem: ErrorDetails) -> str:
        path, kind, message = problem["loc"], problem["type"], problem["msg"].removeprefix("Value error, ")
        if not path:  # a rule over several sections names its place itself: "plans.basic.allowances: ..."
            path = tuple(message.partition(":")[0].split("."))
            return f"{self.place(path)}: {message}"
        dotted = ".".join(map(str, path))
        if kind == "extra_forbidden":
            return f"{self.place(path)}: unknown key {dotted!r}; remove it or mend its spelling"
        if kind == "missing":
            return f"{self.place(path)}: {dotted} is missing; add it"
        written = self._as_written.get(path)
        if kind in _TEXT_WANTED and written is not None:
            return f'{self.place(path)}: {dotted}: expected text, but YAML reads {written} as something else; quote it: "{written}"'
        if kind == "value_error":
            return f"{self.place(path)}: {dotted}: {message}"
        is_secret = any(word in str(path[-1]).lower() for word in _SECRETS)
        got = "" if is_secret else f", got {repr(problem['input'])[:_EXCERPT]}"
        return f"{self.place(path)}: {dotted}: {message}{got}"

    def _parse(self, text: str) -> dict[str, Any]:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            values = self._construct(loader, root, ()) if root is not None else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(f"{self._name}{line}: this is no YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{self._name}: this is no YAML: {error}") from error
        finally:
            loader.dispose()
        if not isinstance(values, dict):
            raise ConfigError(
                f"{self._name}: expected sections such as `kafka:` and `plans:`, got {values!r:.{_EXCERPT}}"
            )
        return values

    def _construct(self, loader: yaml.SafeLoader, node: yaml.Node, path: _Path) -> Any:
        self._places[path] = f"{self._name}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)
            return self._construct_mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(loader, each, (*path, number)) for number, each in enumerate(node.value)]
        self._as_written[path] = node.value
        return loader.construct_object(node)

    def _construct_mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: _Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node)
            where = f"{self._name}:{key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise ConfigError(
                    f'{where}: the key {key_node.value} is no text for YAML; quote it: "{key_node.value}"'
                )
            if key in values:
                raise ConfigError(f"{where}: the key {key!r} stands here twice; keep one")
            values[key] = self._construct(loader, value_node, (*path, key))
            self._places[(*path, key)] = where
        return values

    def _overlay(self, environment: Mapping[str, str]) -> None:
        for variable, value in sorted(environment.items()):
            if not variable.startswith(ENVIRONMENT_PREFIX) or _NESTING not in variable:
                continue
            *sections, last = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split(_NESTING)
            here = self.values
            for section in sections:
                nested = here.get(section)
                here[section] = nested = nested if isinstance(nested, dict) else {}
                here = nested
            here[last] = _from_environment(value)
            path = (*sections, last)
            for length in range(1, len(path)):
                self._places.setdefault(path[:length], f"environment {variable}")
            self._places[path] = f"environment {variable}"
            self._as_written.pop(path, None)


def _from_environment(value: str) -> Any:
    if value[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
