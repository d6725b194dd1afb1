"""The pages on mounted slots: the transcript is what the server answers, the tables are what there is."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx2

from penstock.runtime import Slot
from penstock.runtime.node import _FIELDS, Asked, Node
from tests.docs.reading import ROOT, blocks, text_of

HOT_SWAP = ROOT / "docs" / "howto" / "hot-swap.md"
NODE = ROOT / "docs" / "reference" / "node.md"
NODE_TEXT = text_of(NODE)
_PATIENCE_S = 30.0
_SERVE = """
import asyncio, sys, uvicorn
from example import app
config = uvicorn.Config(app, log_level="critical")
listening = config.bind_socket()
listening.listen()
sys.stderr.write(f"{listening.getsockname()[1]}\\n")
sys.stderr.flush()
uvicorn.Server(config).run([listening])
"""


def asked(command: str, port: str, client: httpx2.Client) -> str:
    """Ask what a call of curl asks."""
    words = iter(shlex.split(command.replace(":8000", f":{port}")))
    assert (next(words), next(words)) == ("curl", "-s")
    method, url, body = "GET", "", None
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            method, body = "POST", next(words)
        else:
            url = word
    return client.request(method, url, content=body).text


def test_the_transcript_on_hot_swap_is_what_the_server_answers(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text("\n".join(blocks(HOT_SWAP, "python")), encoding="utf-8")
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr
        port = server.stderr.readline().strip()
        lines = [line for block in blocks(HOT_SWAP, "console") for line in block.splitlines()]
        with httpx2.Client(timeout=_PATIENCE_S, trust_env=False) as client:
            said = [asked(line.removeprefix("$ "), port, client) for line in lines[::2]]
        assert said == lines[1::2]
    finally:
        server.kill()
        server.wait(_PATIENCE_S)
        server.stderr.close()


def test_the_reference_names_every_order_with_its_fields() -> None:
    node = Node(Slot("vocoder", load=str))
    assert set(node._admin) == set(_FIELDS)
    for name, fields in _FIELDS.items():
        (told,) = re.findall(rf"^\| `POST /penstock/v1/{name}` (.*) \|$", NODE_TEXT, re.MULTILINE)
        assert all(f'"{field}"' in told for field in fields), name


def test_the_reference_shows_the_state_that_there_is() -> None:
    (shown,) = map(json.loads, blocks(NODE, "json"))
    slot = Slot("vocoder", load=str)
    slot.swap("1.1.0")
    asked = Asked("GET", "/penstock/v1/slots", {"host": "127.0.0.1"}, "127.0.0.1")
    assert json.loads(Node(slot).answer(asked).body) == shown


def test_the_reference_names_every_metric() -> None:
    slot = Slot("vocoder", load=str)
    slot.swap("1.1.0")
    page = Node(slot).meters.page().decode()
    families = set(re.findall(r"^# TYPE (penstock_\w+) ", page, re.MULTILINE))
    told = set(re.findall(r"`(penstock_\w+)`", NODE_TEXT))
    assert told == {family for family in families if not family.endswith("_created")}
