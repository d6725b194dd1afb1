"""The lines of an export: a first one that says what follows, then versions, promotions and aliases, one object each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.kernel.errors import UsageError
from penstock.registry.promotion import Promotion
from penstock.registry.reference import checked_alias
from penstock.registry.version import Version

_LAYOUT = 1

#: The first line.
HEADER: Mapping[str, Any] = {"kind": "registry", "layout": _LAYOUT}


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias that was set."""

    service: str
    component: str
    alias: str
    version: str

    def as_json(self) -> dict[str, Any]:
        """The alias's fields."""
        return {name: getattr(self, name) for name in self.__slots__}


Line = Version | Promotion | Alias | None


def written(line: Version | Promotion | Alias) -> dict[str, Any]:
    """Return a line of an export."""
    return {"kind": type(line).__name__.lower(), **line.as_json()}


def read(line: object) -> Line:
    """Read a line; None for the header. Raises ValueError with what is wrong with it."""
    if not isinstance(line, Mapping):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - one kind of error for a line
    try:
        return _read(line)
    except KeyError as error:
        raise ValueError(f"it has no field {error}") from None
    except UsageError as error:
        raise ValueError(error.message.rstrip(".")) from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"a field cannot be read: {error}") from None


def _read(line: Mapping[str, Any]) -> Line:
    match line["kind"]:
        case "registry":
            if line["layout"] != _LAYOUT:
                raise ValueError(f"its layout {line['layout']} is not known; this Penstock reads {_LAYOUT}")
            return None
        case "version":
            return Version.from_json(line)
        case "promotion":
            return Promotion.from_json(line)
        case "alias":
            return Alias(line["service"], line["component"], checked_alias(line["alias"]), line["version"])
        case other:
            raise ValueError(f"a line of the kind {other!r} is not known")
