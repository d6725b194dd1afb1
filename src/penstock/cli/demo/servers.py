"""The speech servers of the demo: where the example lives, how it is started, and what its versions say."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import httpx2

import penstock
from penstock.cli.demo.processes import Child
from penstock.cli.demo.recording import Utterance
from penstock.kernel.errors import ExampleMissing

#: Training takes seconds, on a busy machine more; after that a server is ready at once.
_READY_S = 120.0
_SPEAKING_S = 30.0
_READY = r"ready on (http://\S+)"


def speech_dir() -> Path:
    """Return the speech example's folder: a wheel carries it, a checkout has it at its root. Raises ExampleMissing."""
    package = Path(penstock.__file__).resolve().parent
    places = [package / "_examples" / "speech", *(above / "examples" / "speech" for above in package.parents[:2])]
    for place in places:
        if (place / "__main__.py").is_file():
            return place
    raise ExampleMissing(places=", ".join(map(str, places)))


def load_texts() -> tuple[str, ...]:
    """Return what the demo's users ask for: two short sentences to a long one or so, cheap enough for two cores."""
    return tuple(_resource("texts.txt").splitlines())


def load_sentences() -> tuple[tuple[str, str], ...]:
    """Return (kind, text) of what every version says for the report: short and long, English and Mandarin."""
    pairs = (line.partition(": ") for line in _resource("sentences.txt").splitlines())
    return tuple((kind, text) for kind, _, text in pairs)


def start_servers(
    speech: Path, versions: Iterable[str], n_each: int, logs: Path, stack: ExitStack, say: Callable[[str], None]
) -> dict[str, list[str]]:
    """Start `n_each` processes of each version; return their URLs once all are ready. `stack` ends them.

    The first process of a version trains its voice where none is cached; what it prints about that goes to `say`.
    """
    children: dict[str, list[Child]] = {}
    for version in versions:
        for number in range(1, n_each + 1):
            command = [sys.executable, str(speech), "--version", version, "--port", "0"]
            child = Child(f"speech {version} ({number})", command, logs / f"speech-{version}-{number}.log")
            stack.callback(child.stop)
            children.setdefault(version, []).append(child)
    return {
        version: [child.expect(_READY, _READY_S, say)[1] for child in started] for version, started in children.items()
    }


def speak(urls: Mapping[str, list[str]]) -> Iterator[Utterance]:
    """Let every version say the same sentences, at its own server, past the gateway."""
    with httpx2.Client(timeout=_SPEAKING_S, trust_env=False) as client:
        for kind, text in load_sentences():
            for version, (url, *_) in urls.items():
                answer = client.post(f"{url}/v1/audio/speech", json={"input": text})
                if answer.is_success:
                    yield Utterance(version, kind, text, wav=answer.content)
                else:
                    yield Utterance(version, kind, text, error=f"HTTP {answer.status_code}: {answer.json()['error']}")


def _resource(name: str) -> str:
    return files("penstock.cli.demo").joinpath(name).read_text(encoding="utf-8")
