"""Presets: the settings of a paper, or better ones, laid over params.yaml.

A preset is a file of `presets/` with some of the keys of params.yaml. Its reasons stand in its comments.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bss.errors import InputError, MissingInput
from bss.files import write_text
from bss.params import Params
from bss.parsing import assign, checked, parsed, read_mapping
from bss.registry import UnknownName

FOLDER = Path("presets")
REPLACED = ("preprocess", "encoders", "augment")
"""Sections of which nothing is kept: what fits one data set does not fit another."""


def known(folder: Path = FOLDER) -> list[str]:
    """The names of the presets."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def apply(name: str, path: Path, folder: Path = FOLDER) -> list[str]:
    """Lay a preset over a parameter file, whose comments stay; the lines that tell what has changed.

    Raises:
        InputError: there is no such preset, or the result would not be valid; the file is as it was.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder}: no such folder; presets are there in a clone of the repository")
    if name not in known(folder):
        raise UnknownName("preset", name, known(folder))
    source = folder / f"{name}.yaml"
    read_mapping(source)  # a mapping, or a line that says what else it is
    return lay(_document(source), path, source)


def lay(overlay: Mapping[str, Any], path: Path, origin: Path) -> list[str]:
    """Lay values over a parameter file, whose comments stay; the lines that tell what has changed.

    Raises:
        InputError: the result would not be valid; the file is as it was, and the message names the values' origin.
    """
    before, document = read_mapping(path), _document(path)
    for section, value in overlay.items():
        if section == "preprocess" and isinstance(document.get(section), dict):
            _replace(document[section], value)
        else:
            _lay(document, section, value)
    return _replace_file(path, before, document, origin)


def store(values: Mapping[str, Any], path: Path) -> list[str]:
    """Write values at dotted keys into a parameter file, whose comments stay; the lines that tell what has changed.

    Raises:
        InputError: the result would not be valid; the file is as it was.
    """
    before, document = read_mapping(path), _document(path)
    for key, value in values.items():
        assign(document, key, _flow(value), may_add=True)
    return _replace_file(path, before, document, path)


def _replace_file(path: Path, before: Mapping[str, Any], document: Any, origin: Path) -> list[str]:
    """Write a document in the place of a parameter file, if it is a valid one."""
    text = _written(document)
    after = parsed(text)
    checked(after, Params, origin)
    write_text(text, path)
    return list(differences(before, after))


def _document(path: Path) -> Any:
    """A file with its comments, and its numbers as they are spelled."""
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(path.read_text(encoding="utf-8"))
    except YAMLError as error:  # a key that is there twice, which the reader of the stages lets pass
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None


def _written(document: Any) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1 << 20
    return yaml


def differences(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """A line for each value that is another one, `key: old -> new`; `-` is none."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)) or ("name" in after and key != "preprocess"):
        if before != after:
            yield f"{key}: {_short(before)} -> {_short(after)}"
        return
    for name in [*before, *(name for name in after if name not in before)]:
        yield from differences(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))


def _short(value: Any) -> str:
    return "-" if value is None else str(value)


def _lay(above: Any, key: str, value: Any) -> None:
    """Mappings are merged, but for components, which have a name, and sections that are replaced."""
    there = above.get(key)
    if isinstance(value, Mapping) and isinstance(there, Mapping) and "name" not in value and key not in REPLACED:
        for name, inner in value.items():
            _lay(there, name, inner)
    else:
        above[key] = _flow(value)


def _replace(section: Any, values: Mapping[str, Any]) -> None:
    """The section has these values and no others. What follows it in the file hangs at its last key, and stays."""
    last = next(reversed(section))
    following = _cut(section, last)
    for name in [name for name in section if name not in values]:
        del section[name]
    *_, end = values
    for name, value in values.items():
        # The last one is on one line: what follows in the file hangs at its key, and would split a block.
        section[name] = _flow(value) if name == end else _rows(value)
    _append(section, next(reversed(section)), following)


def _cut(section: Any, key: str) -> str:
    """Take the comments after a key's own line away from it."""
    token = section.ca.items.get(key, [None] * 4)[2]
    if token is None:
        return ""
    own, _, following = token.value.partition("\n")
    token.value = f"{own}\n" if own else "\n"
    return str(following)


def _append(section: Any, key: str, following: str) -> None:
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    if not following:
        return
    comments = section.ca.items.setdefault(key, [None] * 4)
    if comments[2] is None:
        comments[2] = CommentToken("\n", CommentMark(0), None)
    comments[2].value += following


def _rows(value: Any) -> Any:
    """A mapping of components, with a line for each; any other value on one line."""
    from ruamel.yaml.comments import CommentedMap

    if isinstance(value, Mapping) and value and all(isinstance(inner, Mapping) for inner in value.values()):
        return CommentedMap({name: _flow(inner) for name, inner in value.items()})
    return _flow(value)


def _flow(value: Any) -> Any:
    """A value as it is written on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        mapping = CommentedMap({name: _flow(inner) for name, inner in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq([_flow(inner) for inner in value])
        sequence.fa.set_flow_style()
        return sequence
    return value
