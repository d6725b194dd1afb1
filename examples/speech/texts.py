"""The example's texts: what it is trained on, what the demo's users ask for, and which language a text is in."""

import re
from pathlib import Path

_FOLDER = Path(__file__).parent
# Source: the Unicode Character Database, blocks CJK Unified Ideographs and Extension A.
_IDEOGRAPH = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")


def _load_lines(name: str) -> tuple[str, ...]:
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def load_sentences(language: str) -> tuple[str, ...]:
    """Training sentences of one language, `en` or `zh`."""
    return _load_lines(f"sentences_{language}.txt")


def load_texts() -> tuple[str, ...]:
    """About 60 requests as a speech service gets them: short and long, English and Mandarin, in mixed order."""
    return _load_lines("requests.txt")


def detect_language(text: str) -> str:
    """`zh` when the text has a Chinese character, else `en`."""
    return "zh" if _IDEOGRAPH.search(text) else "en"
