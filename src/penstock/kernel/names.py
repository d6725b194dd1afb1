"""Names that people type: checked once, at the door."""

import re

from penstock.kernel.errors import InvalidComponent, InvalidName, InvalidVersion

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,62}")
_COMPONENT = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def checked_service(name: str) -> str:
    """Return `name`, or raise InvalidName: 1 to 63 characters of a-z, 0-9 and -, starting with a letter."""
    if not _SERVICE.fullmatch(name):
        raise InvalidName(name=name)
    return name


def checked_component(name: str) -> str:
    """Return `name`, or raise InvalidComponent: as a service's, with underscores too."""
    if not _COMPONENT.fullmatch(name):
        raise InvalidComponent(name=name)
    return name


def checked_version(version: str) -> str:
    """Return `version`, or raise InvalidVersion: 1 to 64 characters that are safe in headers, logs and file names."""
    if not _VERSION.fullmatch(version):
        raise InvalidVersion(version=version)
    return version
