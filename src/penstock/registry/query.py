"""What a list of versions is asked for."""

from dataclasses import dataclass
from datetime import datetime

from penstock.registry.stage import Stage
from penstock.registry.version import Version


@dataclass(frozen=True, slots=True)
class Query:
    """Filters that must all hold; None filters nothing.

    Attributes:
        service, component: which part.
        stage: in this stage now.
        owner: exactly this one.
        language: among the version's languages.
        text: found in its version, author, owner, change note or training set, whatever the case of letters.
        since: registered then or later; aware.
        marked: True: only those that wait for their deletion; False: only the others.
        removed: True: also those that were removed.
        limit, offset: how many (>= 0, None: all), and how many to pass over.
    """

    service: str | None = None
    component: str | None = None
    stage: Stage | None = None
    owner: str | None = None
    language: str | None = None
    text: str | None = None
    since: datetime | None = None
    marked: bool | None = None
    removed: bool = False
    limit: int | None = None
    offset: int = 0


def words_of(version: Version) -> str:
    """Return the text in which `Query.text`, case-folded, is looked for."""
    metadata = version.metadata
    parts = (str(version.version), metadata.author, metadata.owner, metadata.change_note, metadata.training_set)
    return "\n".join(part for part in parts if part).casefold()
