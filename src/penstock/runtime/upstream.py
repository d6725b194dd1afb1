"""Asking the control plane to roll back, from a server that it decides for."""

import http.client
import json
from urllib.parse import quote, urlsplit

from penstock.kernel.errors import ConflictError, ControlPlaneUnreachable

#: The control plane answers when every gateway has acknowledged, and may have to reach many servers before.
_PATIENCE_S = 60.0
_MAX_ANSWER_BYTES = 1 << 20
_FIRST_ERROR = 400


def roll_back(control_plane: str, service: str, component: str, to: str | None) -> None:
    """Have it roll back: a change behind its back would be reconciled away. Blocks.

    Raises ControlPlaneUnreachable, and ConflictError with what it says against it.
    """
    asked = {"component": component, "to": to, "reason": f"asked for at a server of {service}"}
    try:
        status, answer = _post(control_plane, f"/v1/services/{quote(service, safe='')}/rollback", asked)
    except (OSError, ValueError, http.client.HTTPException):
        raise ControlPlaneUnreachable(url=control_plane) from None
    if status >= _FIRST_ERROR:
        raise ConflictError(detail=_detail_in(answer) or f"the control plane answered {status}.")


def _post(base: str, path: str, body: dict[str, str | None]) -> tuple[int, bytes]:
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        headers = {"Content-Type": "application/json", "X-Penstock-Actor": "node"}
        connection.request("POST", parts.path + path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _detail_in(answer: bytes) -> str | None:
    """Return the sentence in a problem; None where the answer is none."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return str(said["detail"]) if isinstance(said, dict) and said.get("detail") else None
