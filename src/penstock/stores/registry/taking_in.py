"""Taking in the lines of an export, a batch at a time: each batch is one transaction and one change."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from penstock.kernel.chain import canonical_json
from penstock.kernel.errors import PenstockError
from penstock.kernel.semver import SemVer
from penstock.registry.change import ChangeKind
from penstock.registry.exchange import Alias, Line, read
from penstock.registry.promotion import Promotion
from penstock.registry.rules import check_free
from penstock.registry.version import Version
from penstock.stores.registry.asking import THESE_VERSIONS, known_version, promotion_of, promotion_rows, selected_key
from penstock.stores.registry.tables import promotions, rows_of, version_of
from penstock.stores.registry.writing import By, add_promotion, add_versions, note, point_alias

_Rows = tuple[dict[str, Any], dict[str, Any]]


class Batch:
    """Lines that come in together.

    Attributes:
        n_added, n_present: see ports/registry.py.
    """

    def __init__(self, numbered: Sequence[tuple[int, object]]) -> None:
        self.n_added = self.n_present = 0
        self._left_out: dict[int, str] = {}
        self._numbered = numbered
        self._digest = hashlib.sha256()

    @property
    def conflicts(self) -> list[str]:
        """See ports/registry.py."""
        return [f"line {number}: {why}" for number, why in sorted(self._left_out.items())]

    def take_in(self, connection: Connection, by: By) -> None:
        """Add what is not there yet, and note it as one change."""
        lines = [(number, line) for number, raw in self._numbered if (line := self._read(number, raw)) is not None]
        self._add_versions(connection, [(number, line) for number, line in lines if isinstance(line, Version)])
        for number, line in lines:
            if not isinstance(line, Version):
                self._add_other(connection, number, line)
        if self.n_added:
            facts = {"n_added": self.n_added, "sha256": self._digest.hexdigest()}
            note(connection, by, "", "", ChangeKind.IMPORTED, facts)

    def _read(self, number: int, raw: object) -> Line:
        try:
            self._digest.update(canonical_json(raw).encode() + b"\n")
            return read(raw)
        except ValueError as error:
            self._leave_out(number, str(error))
        except RecursionError:
            self._leave_out(number, "it is nested too deeply")
        return None

    def _leave_out(self, number: int, why: str) -> None:
        self._left_out[number] = why

    def _add_versions(self, connection: Connection, lines: Sequence[tuple[int, Version]]) -> None:
        there = _there(connection, [version for _, version in lines])
        rows: list[_Rows] = []
        for number, version in lines:
            taken = there.setdefault(_identity(version), version)
            if taken is version:
                rows.append(rows_of(version))
            elif taken.is_same_as(version):
                self.n_present += 1
            else:
                self._check_free(number, version, taken)
        if rows:
            add_versions(connection, rows)
        self.n_added += len(rows)

    def _check_free(self, number: int, version: Version, taken: Version) -> None:
        try:
            check_free(version, taken)
        except PenstockError as error:
            self._leave_out(number, error.message.rstrip("."))

    def _add_other(self, connection: Connection, number: int, line: Promotion | Alias) -> None:
        try:
            if isinstance(line, Promotion):
                added = self._add_promotion(connection, line)
            else:
                added = self._add_alias(connection, line)
        except (PenstockError, ValueError) as error:
            self._leave_out(number, str(error).rstrip("."))
            return
        self.n_added += added
        self.n_present += not added

    def _add_promotion(self, connection: Connection, promotion: Promotion) -> bool:
        newest = connection.execute(promotion_rows(promotion.service).limit(1)).one_or_none()
        last = 0 if newest is None else newest.number
        if promotion.number > last + 1:
            raise ValueError(f"release {promotion.number} of {promotion.service} does not follow release {last}")
        this = promotion_rows(promotion.service).where(promotions.c.number == promotion.number)
        if (there := connection.execute(this).one_or_none()) is not None:
            if promotion_of(there).versions != promotion.versions:
                raise ValueError(f"release {promotion.number} of {promotion.service} has other versions here")
            return False
        keys = {c: _known_key(connection, promotion.service, c, v) for c, v in promotion.versions.items()}
        add_promotion(connection, promotion, keys)
        return True

    def _add_alias(self, connection: Connection, alias: Alias) -> bool:
        key = _known_key(connection, alias.service, alias.component, alias.version)
        there = selected_key(connection, alias.service, alias.component, alias.alias)
        if there == key:
            return False
        if there is not None:
            raise ValueError(f"the alias {alias.alias} of {alias.service}/{alias.component} points elsewhere here")
        point_alias(connection, alias.service, alias.component, alias.alias, key)
        return True


def _identity(version: Version) -> tuple[str, str, str]:
    return version.service, version.component, version.version.key


def _there(connection: Connection, wanted: Sequence[Version]) -> dict[tuple[str, str, str], Version]:
    rows = json.dumps([_identity(version) for version in wanted])
    return {_identity(v): v for v in map(version_of, connection.execute(THESE_VERSIONS, {"rows": rows}))}


def _known_key(connection: Connection, service: str, component: str, version: str) -> str:
    return known_version(connection, service, component, SemVer.parse(version)).version.key
