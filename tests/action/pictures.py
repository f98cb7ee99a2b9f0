"""Draw a page as GitHub shows it: from Markdown to a PNG that knows which Markdown it shows.

In: the text of a comment or a summary. Out: a picture, drawn by Chromium with the fonts of this machine. The digest of
the text stands in the picture, so that a test without a browser can tell an old one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Final

from cmarkgfm import markdown_to_html_with_extensions
from cmarkgfm.cmark import Options

from tests.githubjudge import EXTENSIONS

WIDTH: Final = 920
TALLEST: Final = 1500
"""Pixels of the page that are drawn; what is below is cut."""
KEYWORD: Final = b"markdown-sha256"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = len(_SIGNATURE) + 25
_ICON: Final = '<svg class="i" viewBox="0 0 16 16">{}</svg>'
SIGNS: Final = {
    "✅": _ICON.format(
        '<rect width="16" height="16" rx="3" fill="#1f883d"/>'
        '<path d="M4 8.4l2.7 2.7L12 5.4" stroke="#fff" stroke-width="2" fill="none"/>'
    ),
    "❌": _ICON.format('<path d="M2.5 2.5l11 11m0-11l-11 11" stroke="#d1242f" stroke-width="3.4"/>'),
    "⚠️": _ICON.format(
        '<path d="M8 1l7.4 13.6H.6z" fill="#f5b700"/><path d="M8 6v4m0 1.6v1.6" stroke="#1f2328" stroke-width="1.6"/>'
    ),
    "📋": _ICON.format(
        '<rect x="2" y="2" width="12" height="13.5" rx="1.5" fill="#b08d57"/><rect x="4" y="4" width="8" height="9.5"'
        ' fill="#fff"/><rect x="5.5" y=".5" width="5" height="3.4" rx="1" fill="#8c959f"/>'
    ),
}
"""Stand in for the coloured signs of GitHub's font, which not every machine has."""
_BOX: Final = re.compile(r"<blockquote>\s*<p>\[!(CAUTION|WARNING|IMPORTANT)\]\s*(.*?)</blockquote>", re.DOTALL)
_STYLE: Final = """
body { margin: 0; padding: 14px; background: #fff; color: #1f2328;
  font: 14px/1.5 -apple-system, "Liberation Sans", Arial, sans-serif; }
.card { border: 1px solid #d1d9e0; border-radius: 6px; overflow: hidden; }
.head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 9px 16px; color: #59636e; }
.head b { color: #1f2328; } .head i { border: 1px solid #d1d9e0; border-radius: 2em; font: 12px/1 inherit;
  font-style: normal; padding: 1px 7px; margin: 0 4px; font-size: 12px; }
.page { padding: 4px 16px 10px; }
h3 { font-size: 1.25em; margin: 16px 0 12px; } h4 { margin: 20px 0 12px; } p { margin: 0 0 14px; }
sub { font-size: 12px; vertical-align: baseline; color: #59636e; } a { color: #0969da; text-decoration: none; }
code { font: 12px "Liberation Mono", "DejaVu Sans Mono", monospace; background: #818b981f; border-radius: 6px;
  padding: .2em .4em; } sub code { font-size: 11px; }
pre { background: #f6f8fa; border-radius: 6px; padding: 12px; } pre code { background: none; padding: 0; }
table { border-collapse: collapse; margin: 0 0 16px; } th, td { border: 1px solid #d1d9e0; padding: 6px 13px; }
tr:nth-child(2n) td { background: #f6f8fa; } td { vertical-align: top; } th { font-weight: 600; }
summary { margin: 0 0 14px; } .box { border-left: 4px solid; padding: 2px 16px; margin: 0 0 16px; }
.box p { margin: 8px 0; color: #1f2328; } .box .name { font-weight: 600; }
.CAUTION { border-color: #cf222e; } .CAUTION .name { color: #d1242f; }
.WARNING { border-color: #9a6700; } .WARNING .name { color: #9a6700; }
.IMPORTANT { border-color: #8250df; } .IMPORTANT .name { color: #8250df; }
.i { width: 1em; height: 1em; vertical-align: -.12em; margin-right: 2px; }
"""


def html(text: str, *, by: str) -> str:
    """Return a page in which a text in Markdown stands as GitHub shows it; ``by`` says whose it is, in HTML."""
    options = Options.CMARK_OPT_UNSAFE
    body = markdown_to_html_with_extensions(text, options=options, extensions=EXTENSIONS)
    body = _BOX.sub(_boxed, body)
    for sign, icon in SIGNS.items():
        body = body.replace(sign, icon)
    card = f'<div class="card"><div class="head">{by}</div><div class="page">{body}</div></div>'
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{card}"


def _boxed(found: re.Match[str]) -> str:
    name = found[1].capitalize()
    return f'<div class="box {found[1]}"><p class="name">{name}</p><p>{found[2]}</div>'


def browser() -> str | None:
    """Return the program that draws, ``None`` where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def draw(text: str, picture: Path, *, by: str) -> None:
    """Draw a text in Markdown; the height is what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html(text, by=by) + _MEASURE, encoding="utf-8")
        dom = _run(folder, f"--window-size={WIDTH},600", "--dump-dom", page.as_uri())
        measured = re.search(r'data-height="(\d+)"', dom)
        assert measured is not None
    shoot(html(text, by=by), picture, text, size=(WIDTH, min(int(measured[1]), TALLEST)))


def shoot(page: str, picture: Path, text: str, *, size: tuple[int, int]) -> None:
    """Draw so much of a page in HTML, in pixels; the picture will know the digest of ``text``."""
    with tempfile.TemporaryDirectory() as folder:
        file, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        file.write_text(page, encoding="utf-8")
        window = f"--window-size={size[0]},{size[1]}"
        _run(folder, window, "--force-device-scale-factor=1.5", f"--screenshot={shot}", file.as_uri())
        data = shot.read_bytes()
    chunk = KEYWORD + b"\0" + digest(text).encode()
    picture.write_bytes(data[:_HEADER] + _chunk(b"tEXt", chunk) + data[_HEADER:])


_MEASURE: Final = "<script>document.body.dataset.height = Math.ceil(document.documentElement.scrollHeight)</script>"


def _run(folder: str, *arguments: str) -> str:
    program = browser()
    assert program is not None
    settings = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile")
    ran = subprocess.run([program, *settings, *arguments], check=True, capture_output=True, text=True)
    return ran.stdout


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def digest(text: str) -> str:
    """Return what a picture of this text holds."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_in(picture: Path) -> str:
    """Return the digest of the text that a picture shows, empty where it holds none."""
    found = re.search(re.escape(KEYWORD) + rb"\0([0-9a-f]{64})", picture.read_bytes()[:400])
    return found[1].decode() if found else ""
