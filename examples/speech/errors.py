"""What the example refuses in words. Each message is one sentence that says what to do instead."""


class SpeechError(Exception):
    """The server cannot start."""


class EspeakMissing(SpeechError):
    def __init__(self) -> None:
        super().__init__("The speech example needs espeak-ng; install it with: pip install 'penstock[espeak]'")


class EspeakBroken(SpeechError):
    def __init__(self, detail: str) -> None:
        super().__init__(f"espeak-ng did not start ({detail}); reinstall it with: pip install -I espeakng-loader")


class CacheUnwritable(SpeechError):
    def __init__(self, folder: str, detail: str) -> None:
        super().__init__(f"Cannot keep trained voices in {folder} ({detail}); set PENSTOCK_CACHE to a writable folder.")


class UnknownVersion(SpeechError):
    def __init__(self, version: str, known: str) -> None:
        super().__init__(f"There is no version {version} of the speech example; the known ones are {known}.")


class NothingToServe(SpeechError):
    """What Penstock says when a component's first version cannot be had."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} Remedy: {remedy}")


class AddressTaken(SpeechError):
    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"Cannot listen on {host}:{port} ({detail}); choose another --port, or 0 for a free one.")


class InvalidRequest(Exception):
    """A caller asked for something that cannot be synthesised. `status` is the HTTP status that says so."""

    status = 400


class TextTooLong(InvalidRequest):
    status = 413
