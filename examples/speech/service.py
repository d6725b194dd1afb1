"""The HTTP service around a voice. Every refusal is `{"error": "one sentence"}`; no route of ours ever answers otherwise."""

import base64
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from .cache import Trained
from .errors import InvalidRequest
from .spectra import HOP, SAMPLE_RATE, Floats
from .voice import to_pcm, to_wav

# No sample beyond this (-60 dBFS) is silence to anybody who listens.
_SILENT_BELOW = 1e-3
_FORMATS = ("wav", "pcm")
_LOG = logging.getLogger("uvicorn.error")
MODEL = "speech-example"
#: What `/version` says besides.
FACTS: Mapping[str, Any] = {"sample_rate": SAMPLE_RATE, "token_rate": round(SAMPLE_RATE / HOP, 3)}


class SynthesisFailed(Exception):
    """The model itself failed on a request that can be meant: status 500."""


class SynthesizeRequest(BaseModel):
    text: str
    emotion: str = "neutral"
    language: str | None = None


class SpeechRequest(BaseModel):
    """OpenAI's `POST /v1/audio/speech`. `model` and `voice` are accepted as they come: this server has one of each."""

    input: str
    model: str = MODEL
    voice: str | dict[str, str] = "default"
    response_format: str = "wav"
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    language: str | None = None


class Synthesis(BaseModel):
    audio_b64: str


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class VersionCard(BaseModel):
    model: str
    version: str
    build_time: str
    sample_rate: int
    token_rate: float
    digest: str


#: (text, language or None, emotion, speed ratio) -> samples, as `Voice.say`.
Say = Callable[[str, str | None, str, float], Floats]


def build_service(say: Say) -> FastAPI:
    """An application that speaks with `say`. Its routes are plain functions, so each synthesis runs in a thread."""
    app = FastAPI(title="Penstock's speech example")
    _add_error_answers(app)

    @app.post("/synthesize")
    def synthesize(request: SynthesizeRequest, response: Response) -> Synthesis:
        samples = _said(say, request.text, request.language, emotion=request.emotion)
        response.headers.update(_faults(samples))
        return Synthesis(audio_b64=base64.b64encode(to_wav(samples)).decode())

    @app.post("/v1/audio/speech", response_class=Response)
    def speech(request: SpeechRequest) -> Response:
        if request.response_format not in _FORMATS:
            known = " and ".join(_FORMATS)
            raise InvalidRequest(
                f"response_format {request.response_format!r} is not supported; the supported ones are {known}."
            )
        samples = _said(say, request.input, request.language, speed_ratio=request.speed)
        if request.response_format == "pcm":
            return Response(to_pcm(samples), media_type=f"audio/pcm;rate={SAMPLE_RATE}", headers=_faults(samples))
        return Response(to_wav(samples), media_type="audio/wav", headers=_faults(samples))

    return app


def add_card(app: FastAPI, version: str, trained: Trained) -> None:
    """Add `/health` and `/version` of a whole version; where components are mounted, Penstock answers them."""

    @app.get("/health")
    def health() -> Health:
        return Health()

    @app.get("/version")
    def card() -> VersionCard:
        return VersionCard(
            model=MODEL,
            version=version,
            build_time=trained.build_time,
            digest=trained.digest,
            **FACTS,
        )


def _said(say: Say, text: str, language: str | None, emotion: str = "neutral", speed_ratio: float = 1.0) -> Floats:
    try:
        return say(text, language, emotion, speed_ratio)
    except InvalidRequest:
        raise
    except Exception as error:  # whatever a bad version does wrong is one failed request, never a dead server
        _LOG.warning("synthesis failed: %s: %s", type(error).__name__, error)
        raise SynthesisFailed(f"The model failed on this text ({type(error).__name__}: {error}).") from error


def _faults(samples: Floats) -> dict[str, str]:
    """What this server hears in its own answer, as the header that the gateway counts."""
    return {"X-Penstock-Fault": "silence"} if np.abs(samples).max() < _SILENT_BELOW else {}


def _add_error_answers(app: FastAPI) -> None:
    def answer(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": message}, status)

    @app.exception_handler(InvalidRequest)
    def invalid(_: Request, error: InvalidRequest) -> JSONResponse:
        return answer(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(400, "The body is not JSON.")
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return answer(400, f"{place}: {first['msg']}.")

    @app.exception_handler(SynthesisFailed)
    def failed(_: Request, error: SynthesisFailed) -> JSONResponse:
        return answer(500, str(error))

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, f"{error.detail}.")
