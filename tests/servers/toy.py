"""A server of one's own with two components: `python toy.py PORT [asgi|wsgi]`. Its answers tell what made them.

Version 9.0.0 is damaged; version 5.0.0 takes a minute to load.
"""

import sys
import time
from typing import Any

from penstock import Pipeline, Slot
from penstock.runtime import asgi, wsgi


def loader(component: str) -> Any:
    def load(version: str) -> str:
        if version == "9.0.0":
            raise ValueError("its file is damaged")
        if version == "5.0.0":
            time.sleep(60.0)
        return f"{component} {version}"

    return load


def pipeline() -> Pipeline:
    slots = {component: Slot(component, load=loader(component)) for component in ("acoustic", "vocoder")}
    whole = Pipeline(slots)
    whole.swap(dict.fromkeys(slots, "1.0.0"))
    return whole


def serve_asgi(port: int, whole: Pipeline) -> None:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()
    app.add_middleware(asgi.Mount, slots=whole, model="toy", facts={"sample_rate": 22050})

    @app.post("/synthesize")
    def synthesize() -> dict[str, str]:
        with whole.lease() as parts:
            time.sleep(0.002)
            return {"acoustic": parts["acoustic"], "vocoder": parts["vocoder"]}

    @app.get("/stream")
    def stream() -> StreamingResponse:
        lease = whole.lease()

        def chunks() -> Any:
            with lease as parts:
                for _ in range(5):
                    yield parts["vocoder"] + "\n"
                    time.sleep(0.1)

        return StreamingResponse(chunks(), media_type="text/plain")

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the model fell over")

    uvicorn.run(app, port=port, log_level="error")


def serve_wsgi(port: int, whole: Pipeline) -> None:
    from flask import Flask
    from werkzeug.serving import make_server

    app = Flask(__name__)

    @app.post("/synthesize")
    def synthesize() -> dict[str, str]:
        with whole.lease() as parts:
            return {"acoustic": parts["acoustic"], "vocoder": parts["vocoder"]}

    app.wsgi_app = wsgi.Mount(app.wsgi_app, slots=whole, model="toy", facts={"sample_rate": 22050})  # type: ignore[method-assign]
    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    {"asgi": serve_asgi, "wsgi": serve_wsgi}[sys.argv[2]](int(sys.argv[1]), pipeline())
