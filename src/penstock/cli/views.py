"""Two ways to watch a rollout: lines for a log file, and a picture that stays in place for a terminal."""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from penstock.cli import wording
from penstock.cli.follow import monotonic_s
from penstock.cli.terminal import columns, plain, write

if TYPE_CHECKING:
    from rich.console import RenderableType

#: A status that only counted on is repeated in a log no more often than this, seconds.
_REPEAT_S = 5.0
_N_ENTRIES_SHOWN = 8


class View(Protocol):
    """What a watched rollout is shown on."""

    def entry(self, entry: Mapping[str, Any]) -> None: ...

    def status(self, status: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class Silence:
    """Shows nothing."""

    def entry(self, entry: Mapping[str, Any]) -> None: ...

    def status(self, status: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class LogView:
    """Writes a line for each entry, and one whenever the status says something new."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: tuple[object, ...] = ()
        self._line = ""
        self._at_s = float("-inf")
        self._headline = ""
        self._said: set[str] = set()

    def entry(self, entry: Mapping[str, Any]) -> None:
        write(self._stream, wording.entry(entry))

    def status(self, status: Mapping[str, Any]) -> None:
        if status["canary"] is None:
            return
        if not self._headline:
            self._headline = wording.headline(status)
            write(self._stream, self._headline)
        for warning in status["warnings"]:
            self._once(f"warning: {warning}")
        if status["phase"] == "held" and status["outcome"] is None:
            self._once(wording.held(status))
        line = wording.progress(status)
        gist = (status["phase"], status["weight_pct"], status["verdict"], status["trouble"])
        if gist != self._shown or (line != self._line and monotonic_s() - self._at_s >= _REPEAT_S):
            self._shown, self._line, self._at_s = gist, line, monotonic_s()
            write(self._stream, line)

    def note(self, text: str) -> None:
        write(self._stream, text)

    def close(self) -> None: ...

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            write(self._stream, text)


class LiveView:
    """Draws the rollout in place."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

        self._status: Mapping[str, Any] | None = None
        self._entries: deque[str] = deque(maxlen=_N_ENTRIES_SHOWN)
        self._note = ""
        console = Console(file=stream, highlight=False)
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=4)
        self._live.start()

    def entry(self, entry: Mapping[str, Any]) -> None:
        if entry["kind"] != "applied":  # the picture shows what is in force
            self._entries.append(wording.entry(entry))

    def status(self, status: Mapping[str, Any]) -> None:
        self._note = ""
        self._status = status

    def note(self, text: str) -> None:
        self._note = text

    def close(self) -> None:
        self._live.refresh()
        self._live.stop()

    def _picture(self) -> "RenderableType":
        from rich.console import Group  # noqa: PLC0415 - only a terminal needs it
        from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

        lines = [*picture(self._status), *((line, "dim") for line in self._entries), (self._note, "bold yellow")]
        shown = (Text(plain(line), style, no_wrap=True, overflow="ellipsis") for line, style in lines if line)
        return Group(*shown)


_PHASE_STYLES = {"withdrawn": "bold yellow", "held": "bold yellow", "rolling_back": "bold red", "fallback": "bold red"}


def picture(status: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the picture of a rollout as (line, style)."""
    if status is None:
        return [("waiting for the control plane", "dim")]
    lines = [(wording.headline(status), "bold")]
    if status["canary"]:
        style = _PHASE_STYLES.get(status["phase"], "")
        lines.append((f"{status['phase']:<12} {wording.bar(status['weight_pct'])}", style))
        lines.append((wording.judged(status), style))
    lines += [(f"  {row}", "") for row in columns(wording.metrics(status))]
    if status["waiting_for"]:
        lines.append((f"waits for: {status['waiting_for']}", ""))
    lines.append((wording.nodes(status), "dim"))
    lines += [(f"warning: {warning}", "yellow") for warning in status["warnings"]]
    if status["trouble"]:
        lines.append((f"trouble: {status['trouble']}", "bold red"))
    if status["phase"] == "held" and status["outcome"] is None:
        lines.append((wording.held(status), "bold yellow"))
    return lines


def view_for(stream: TextIO, *, quiet: bool) -> View:
    """Return the view that suits where the output goes."""
    if quiet:
        return Silence()
    return LiveView(stream) if stream.isatty() else LogView(stream)
