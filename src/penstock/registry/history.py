"""What a service served, and with which versions: all that a rollback is chosen from."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.registry.promotion import Promotion
from penstock.registry.version import Version


@dataclass(frozen=True, slots=True)
class History:
    """A service's promotions and their versions.

    Attributes:
        service: which one.
        promotions: newest first; the first one serves.
        versions: (component, version) -> all that those promotions name, and the highest stable ones besides.
    """

    service: str
    promotions: tuple[Promotion, ...]
    versions: Mapping[tuple[str, str], Version]

    @property
    def serving(self) -> dict[str, Version]:
        """Component -> the version that serves; empty before the first promotion."""
        return self.set_of(self.promotions[0]) if self.promotions else {}

    def set_of(self, promotion: Promotion) -> dict[str, Version]:
        """Return the versions of a promotion by component."""
        return {component: self.versions[component, version] for component, version in promotion.versions.items()}

    def usable(self, component: str) -> list[Version]:
        """Return the versions of a component that may serve: the last promoted first, then the highest."""
        promoted = [p.versions[component] for p in self.promotions if component in p.versions]
        others = sorted((v for (c, _), v in self.versions.items() if c == component), key=_precedence, reverse=True)
        names = dict.fromkeys([*promoted, *(str(v.version) for v in others)])
        return [v for name in names if (v := self.versions[component, name]).why_unusable is None]


def _precedence(version: Version) -> str:
    return version.version.key
