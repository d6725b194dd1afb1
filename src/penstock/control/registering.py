"""The registry's part in component rollouts: it says what may be released, and learns what became of it.

A service that the registry does not know is none of its business: its versions are then checked by nobody but the servers.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from penstock.kernel.errors import Incompatible, InvalidSemVer, PenstockError, Quarantined, RefusedError, UnknownVersion
from penstock.ports.clock import Clock
from penstock.ports.registry import RegistryStore
from penstock.registry.compatibility import conflicts
from penstock.registry.query import Query
from penstock.registry.release import Release, part_name
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.rollout.fleet import changed
from penstock.rollout.state import ServiceState

_ACTOR = "controller"
#: A rollback waits no longer for what the registry has to say, seconds.
_PATIENCE_S = 2.0
#: A canary that is none any more goes back to one of these.
_NOT_YET = (Stage.REGISTERED, Stage.VERIFIED)


class Registering:
    """The registry, as the control plane asks it. Its calls run in threads: a slow disk must not stop the loop.

    Attributes:
        trouble: service -> why the registry could not take in what happened, or be asked; taking in is tried again.
    """

    def __init__(self, store: RegistryStore | None, clock: Clock) -> None:
        self.trouble: dict[str, str] = {}
        self._store = store
        self._clock = clock
        self._taken_in: dict[str, int] = {}

    async def check(self, canary: Release, component: str, *, unverified: bool) -> None:
        """Raise what speaks against releasing a component's version in this set.

        UnknownVersion, Quarantined, RefusedError for one that nobody verified (unless `unverified`), Incompatible.
        """
        if self._store is not None:
            await asyncio.to_thread(self._check, self._store, canary, component, unverified)

    async def objections(self, stable: Release, component: str, versions: Iterable[str]) -> dict[str, str]:
        """Return version -> what speaks against going back to it, with the other components as they are.

        A rollback does not wait for a registry that is slow or broken: then nothing is said.
        """
        if self._store is None:
            return {}
        asking = asyncio.to_thread(self._objections, self._store, stable, component, tuple(versions))
        try:
            return await asyncio.wait_for(asking, _PATIENCE_S)
        except TimeoutError:
            self.trouble[stable.service] = f"the registry did not answer within {_PATIENCE_S:g} s"
        except PenstockError as error:
            self.trouble[stable.service] = error.message
        return {}

    async def take_in(self, state: ServiceState) -> None:
        """Let the registry learn what a service's journal says: stages, quarantine, and what serves."""
        if self._store is None or not state.stable.swapped or self._taken_in.get(state.service) == state.seq:
            return
        try:
            await asyncio.to_thread(self._take_in, self._store, state)
        except PenstockError as error:
            self.trouble[state.service] = error.message
        else:
            self._taken_in[state.service] = state.seq
            self.trouble.pop(state.service, None)

    def _check(self, store: RegistryStore, canary: Release, component: str, unverified: bool) -> None:
        known = _known(store, canary)
        if component not in known:
            if component in store.services().get(canary.service, ()):
                store.version(canary.service, component, canary.versions[component])  # says what there is instead
            return
        version = known[component]
        if version.stage is Stage.QUARANTINED:
            raise Quarantined(service=canary.service, version=version.name, why=version.staged_why)
        if twin := _quarantined_twin(store, version):
            raise Quarantined(service=canary.service, version=version.name, why=f"it is what {twin.name} was")
        if version.stage is Stage.REGISTERED and not unverified:
            raise RefusedError(
                detail=f"{version.name} of {canary.service!r} is registered, but nobody verified it: "
                f"penstock mark {canary.service}/{component}@{version.version} verified, or release it --unverified."
            )
        if misfits := conflicts(known):
            raise Incompatible(
                service=canary.service, why="; ".join(misfits), remedy="release a version that fits what serves"
            )

    def _objections(
        self, store: RegistryStore, stable: Release, component: str, versions: tuple[str, ...]
    ) -> dict[str, str]:
        known = _known(store, stable)
        said = {}
        for number in versions:
            version = _version(store, stable.service, component, number)
            if version is None:
                continue
            misfits = conflicts({**known, component: version})
            if why := version.why_unusable or "; ".join(misfits):
                said[number] = why
        return said

    def _take_in(self, store: RegistryStore, state: ServiceState) -> None:
        canaries = {} if state.canary is None or not state.in_place else changed(state.stable, state.canary)
        self._note_quarantine(store, state)
        self._note_canaries(store, state, canaries)
        serving = {component: str(version.version) for component, version in _known(store, state.stable).items()}
        newest = store.promotions(state.service, limit=1)
        if serving and not (newest and serving.items() <= newest[0].versions.items()):
            at = self._clock.now()
            store.promote(state.service, serving, at=at, actor=_ACTOR, reason=state.reason)

    def _note_canaries(self, store: RegistryStore, state: ServiceState, canaries: Mapping[str, str]) -> None:
        known = _known(store, state.canary) if state.canary else {}
        for component in canaries:
            version = known.get(component)
            if version is not None and version.stage in _NOT_YET:
                self._move(store, version, Stage.CANARY, state.reason)
        for version in store.versions(Query(service=state.service, stage=Stage.CANARY)):
            ended = canaries.get(version.component) != str(version.version)
            if ended and state.stable.versions.get(version.component) != str(version.version):
                self._move(store, version, Stage.VERIFIED, state.reason)

    def _note_quarantine(self, store: RegistryStore, state: ServiceState) -> None:
        for name, why in state.quarantine.values():
            for component in state.stable.versions:
                number = name.removeprefix(part_name(component, ""))
                version = None if number == name else _version(store, state.service, component, number)
                if version is not None and version.stage is not Stage.QUARANTINED:
                    self._move(store, version, Stage.QUARANTINED, why)

    def _move(self, store: RegistryStore, version: Version, stage: Stage, why: str) -> None:
        where = (version.service, version.component, str(version.version))
        store.move(*where, stage, at=self._clock.now(), actor=_ACTOR, reason=why or stage.value)


def _known(store: RegistryStore, release: Release) -> dict[str, Version]:
    return dict(_found(store, release))


def _found(store: RegistryStore, release: Release) -> Iterator[tuple[str, Version]]:
    for component, number in release.versions.items():
        if version := _version(store, release.service, component, number):
            yield component, version


def _version(store: RegistryStore, service: str, component: str, number: str) -> Version | None:
    """Return a version; None where the servers have it from elsewhere."""
    try:
        return store.version(service, component, number)
    except (UnknownVersion, InvalidSemVer):
        return None


def _quarantined_twin(store: RegistryStore, version: Version) -> Version | None:
    """Return a quarantined version of the same component with the same files."""
    if version.digest is None:
        return None
    query = Query(service=version.service, component=version.component, stage=Stage.QUARANTINED)
    return next((other for other in store.versions(query) if other.digest == version.digest), None)
