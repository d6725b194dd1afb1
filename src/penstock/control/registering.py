"""The registry's part in component rollouts: it says what may be released, and learns what became of it.

A service that the registry does not know is none of its business: its versions are then checked by nobody but the servers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from penstock.kernel.errors import Incompatible, InvalidSemVer, PenstockError, Quarantined, RefusedError, UnknownVersion
from penstock.kernel.semver import SemVer
from penstock.ports.clock import Clock
from penstock.ports.registry import RegistryStore
from penstock.registry.compatibility import conflicts, nearest_set
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
#: What may be released together with a version that does not fit what serves.
_MAY_GO_OUT = (Stage.VERIFIED, Stage.STABLE)


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
        self._changing = asyncio.Lock()

    async def check(self, stable: Release, canary: Release, *, unverified: bool) -> None:
        """Raise what speaks against releasing what the canary's set has and stable's has not.

        UnknownVersion, Quarantined, RefusedError for one that nobody verified (unless `unverified`), Incompatible.
        """
        if self._store is not None:
            await asyncio.to_thread(self._check, self._store, stable, canary, unverified)

    async def objections(self, stable: Release, sets: Sequence[Mapping[str, str]]) -> list[str | None]:
        """Return for each set (component -> version) what speaks against going back to it from stable's.

        A rollback does not wait for a registry that is slow or broken: then nothing is said.
        """
        silence: list[str | None] = [None] * len(sets)
        if self._store is None:
            return silence
        asking = asyncio.to_thread(self._objections, self._store, stable, sets)
        try:
            return await asyncio.wait_for(asking, _PATIENCE_S)
        except TimeoutError:
            self.trouble[stable.service] = f"the registry did not answer within {_PATIENCE_S:g} s"
        except PenstockError as error:
            self.trouble[stable.service] = error.message
        return silence

    async def has(self, service: str, component: str, version: str) -> bool:
        """Whether the registry has a version; False where it does not answer in time."""
        if self._store is None:
            return False
        asking = asyncio.to_thread(_version, self._store, service, component, version)
        try:
            found = await asyncio.wait_for(asking, _PATIENCE_S)
        except (TimeoutError, PenstockError):
            return False
        return found is not None

    async def take_in(self, state_now: Callable[[], ServiceState]) -> None:
        """Let the registry learn what a service's journal says: stages, quarantine, and what serves."""
        if self._store is None:
            return
        async with self._changing:  # what is lifted meanwhile must not be marked again by an older state
            state = state_now()
            if not state.stable.swapped or self._taken_in.get(state.service) == state.seq:
                return
            try:
                await asyncio.to_thread(self._take_in, self._store, state)
            except PenstockError as error:
                self.trouble[state.service] = f"the registry did not take in what happened: {error.message}"
            else:
                self._taken_in[state.service] = state.seq
                self.trouble.pop(state.service, None)

    async def spelt(self, state: ServiceState, name: str) -> str:
        """Return a component's version (`vocoder-v1.3.0`) as the registry spells it, where it has it."""
        if self._store is None:
            return name
        version = await asyncio.to_thread(_named, self._store, state, name)
        return version.part_name if version else name

    async def lift(self, state_now: Callable[[], ServiceState], name: str, *, actor: str, reason: str) -> bool:
        """Take a component's version (`vocoder-1.3.0`) out of quarantine; return whether it was in it."""
        if self._store is None:
            return False
        async with self._changing:
            return await asyncio.to_thread(self._lift, self._store, state_now(), name, actor, reason)

    def _lift(self, store: RegistryStore, state: ServiceState, name: str, actor: str, reason: str) -> bool:
        version = _named(store, state, name)
        if version is None or version.stage is not Stage.QUARANTINED:
            return False
        where = (version.service, version.component, str(version.version))
        store.move(*where, Stage.REGISTERED, at=self._clock.now(), actor=actor, reason=reason)
        return True

    def _check(self, store: RegistryStore, stable: Release, canary: Release, unverified: bool) -> None:
        known = _known(store, canary.service, canary.versions)
        wanted = {}
        for component, number in changed(stable, canary).items():
            if component in known:
                wanted[component] = _releasable(store, known[component], unverified=unverified)
            elif component in store.services().get(canary.service, ()):
                other = store.version(canary.service, component, number)  # else it says what there is instead
                raise RefusedError(detail=f"{component} {number} is not in the registry, which has {other.name}.")
        if wanted and (misfits := conflicts(known)):
            raise Incompatible(
                service=canary.service, why="; ".join(misfits), remedy=_remedy(store, stable, wanted, known)
            )

    def _objections(self, store: RegistryStore, stable: Release, sets: Sequence[Mapping[str, str]]) -> list[str | None]:
        said: list[str | None] = []
        for versions in sets:
            known = _known(store, stable.service, versions)
            new = [known[c] for c, v in versions.items() if c in known and stable.versions.get(c) != v]
            why = next((version.why_unusable for version in new if version.why_unusable), None)
            said.append(why or ("; ".join(conflicts(known)) if new else None) or None)
        return said

    def _take_in(self, store: RegistryStore, state: ServiceState) -> None:
        canaries = {} if state.canary is None or not state.in_place else changed(state.stable, state.canary)
        self._note_quarantine(store, state)
        self._note_canaries(store, state, canaries)
        serving = {
            component: str(version.version)
            for component, version in _known(store, state.service, state.stable.versions).items()
        }
        newest = store.promotions(state.service, limit=1)
        known = bool(newest) and serving.items() <= newest[0].versions.items()
        stable = all(version.stage is Stage.STABLE for version in _known(store, state.service, serving).values())
        if serving and not (known and stable):
            at = self._clock.now()
            store.promote(state.service, serving, at=at, actor=_ACTOR, reason=state.reason)

    def _note_canaries(self, store: RegistryStore, state: ServiceState, canaries: Mapping[str, str]) -> None:
        known = _known(store, state.service, state.canary.versions) if state.canary else {}
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
            version = _named(store, state, name)
            if version is not None and version.stage is not Stage.QUARANTINED:
                self._move(store, version, Stage.QUARANTINED, why)

    def _move(self, store: RegistryStore, version: Version, stage: Stage, why: str) -> None:
        where = (version.service, version.component, str(version.version))
        store.move(*where, stage, at=self._clock.now(), actor=_ACTOR, reason=why or stage.value)


def _known(store: RegistryStore, service: str, versions: Mapping[str, str]) -> dict[str, Version]:
    """Return those of a set that the registry has."""
    found = ((component, _version(store, service, component, number)) for component, number in versions.items())
    return {component: version for component, version in found if version is not None}


def _named(store: RegistryStore, state: ServiceState, name: str) -> Version | None:
    """Return the version that `vocoder-1.3.0` names, if the registry has it.

    A set of several reads like a version with a suffix: it is none, and none of its parts is known to be guilty.
    """
    for component in state.stable.versions:
        number = name.removeprefix(part_name(component, ""))
        version = None if number == name else _version(store, state.service, component, number)
        if version is not None:
            return version
    return None


def _releasable(store: RegistryStore, version: Version, *, unverified: bool) -> Version:
    """Return it, or raise why it may not be released, whatever else serves."""
    name = part_name(version.component, str(version.version))
    if version.stage is Stage.QUARANTINED:
        raise Quarantined(service=version.service, version=name, why=version.staged_why)
    if twin := _quarantined_twin(store, version):
        raise Quarantined(service=version.service, version=name, why=f"it is what {twin.name} was")
    if version.stage is Stage.REGISTERED and not unverified:
        raise RefusedError(
            detail=f"{version.name} of {version.service!r} is registered, but nobody verified it: "
            f"penstock mark {version.reference} verified, or release it --unverified."
        )
    return version


def _remedy(store: RegistryStore, stable: Release, wanted: Mapping[str, Version], known: Mapping[str, Version]) -> str:
    """Name the nearest set that works: what would have to go out with the wanted versions."""
    pool = {c: _releasable_versions(store, stable.service, c) for c in known if c not in wanted}
    found = nearest_set({c: v for c, v in known.items() if c not in wanted}, wanted, pool)
    if found is None:
        return "release a version that fits what serves; none that is verified or stable fits this one"
    along = [f"--also {c}={v.version}" for c, v in sorted(found.items()) if c not in wanted and known.get(c) != v]
    first = next(iter(wanted.values()))
    return f"release them together: penstock release {stable.service}/{first.component} --version {first.version} {' '.join(along)}"


def _releasable_versions(store: RegistryStore, service: str, component: str) -> list[Version]:
    """Return versions that may go out, the highest first."""
    found = (store.versions(Query(service=service, component=component, stage=stage)) for stage in _MAY_GO_OUT)
    return sorted((v for versions in found for v in versions), key=lambda v: v.version.key, reverse=True)


def _version(store: RegistryStore, service: str, component: str, number: str) -> Version | None:
    """Return a version; None where the servers have it from elsewhere, also if only its build is another one."""
    try:
        found = store.version(service, component, number)
    except (UnknownVersion, InvalidSemVer):
        return None
    return found if str(found.version) == str(SemVer.parse(number)) else None


def _quarantined_twin(store: RegistryStore, version: Version) -> Version | None:
    """Return a quarantined version of the same component with the same files."""
    if version.digest is None:
        return None
    query = Query(service=version.service, component=version.component, stage=Stage.QUARANTINED)
    return next((other for other in store.versions(query) if other.digest == version.digest), None)
