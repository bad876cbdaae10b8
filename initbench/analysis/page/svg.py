"""A figure as SVG inside a page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from initbench.analysis.figures import style

MOST_VERTICES = 40_000
"""Of a figure's artists together: beyond, they become an image inside the SVG, and the text stays text."""
DOTS_PER_INCH = 110
POINTS = 72
"""An inch, as SVG has it."""
MARGIN = 0.06
"""Inches around what is drawn."""
LARGE = 100_000
"""Letters of an image, from which on it has 256 colours instead of all."""
LONG = 300
"""Letters of a path: a shorter one is a marker, or a tick."""
SETTINGS = {**style.SETTINGS, "svg.fonttype": "none", "savefig.dpi": DOTS_PER_INCH}
_HEAD = re.compile(r"^.*?(?=<svg )", re.DOTALL)
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", re.DOTALL)
_ROOT = re.compile(r'<svg [^>]*viewBox="0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)"[^>]*>')
_COORDINATES = re.compile(r'(?<=[ "])(d|x|y|points)="[^"]*"')
_IMAGE = re.compile(r"(?<=data:image/png;base64,)[^\"]*")
_FONT = re.compile(r"font-family: [^;\"]*;? ?")


@dataclass(frozen=True)
class Inline:
    """A drawing without its words: these stand in the page as text."""

    title: str
    caption: str
    svg: str
    """Without ``<svg>`` and ``</svg>``."""
    width: float
    height: float
    """In points."""


def inline(figure: Figure, prefix: str) -> Inline:
    """`figure` without title and caption; every id in it begins with `prefix`, so that two figures share none."""
    title, caption = _words(figure)
    for text in figure.texts:
        text.set_visible(False)
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        if same_color(patch.get_facecolor(), "white"):
            patch.set_visible(False)  # the page's card is the paper
    _rasterize(figure)
    told = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": prefix}):
        figure.savefig(told, format="svg", bbox_inches=_drawn_on(figure), metadata=nothing)
    return _inline(told.getvalue(), prefix, title, caption)


def _drawn_on(figure: Figure) -> Bbox:
    """In inches, what is drawn on, with a margin: "tight" finds the same by drawing all of it once more."""
    width, height = figure.get_size_inches() * POINTS
    dots, figure.dpi = figure.dpi, POINTS
    box = figure.get_tightbbox(RendererSVG(width, height, io.StringIO()))
    figure.dpi = dots
    return box.padded(MARGIN)


def _words(figure: Figure) -> tuple[str, str]:
    """The title, and what stands below: `style.page` puts them there, in lines."""
    title = figure.get_suptitle()
    others = [text.get_text() for text in figure.texts if isinstance(text, Text) and text.get_text() != title]
    return " ".join(title.split()), " ".join(" ".join(others).split())


def _rasterize(figure: Figure) -> None:
    artists = [artist for axes in figure.axes for artist in (*axes.lines, *axes.collections, *axes.patches)]
    if sum(_vertices(artist) for artist in artists) > MOST_VERTICES:
        for artist in artists:
            artist.set_rasterized(True)


def _vertices(artist: object) -> int:
    paths = artist.get_paths() if hasattr(artist, "get_paths") else [artist.get_path()]  # type: ignore[attr-defined]
    places = len(artist.get_offsets()) if hasattr(artist, "get_offsets") else 1
    return max(sum(len(path.vertices) for path in paths), places)


def _inline(told: str, prefix: str, title: str, caption: str) -> Inline:
    told = _STYLE.sub("", _HEAD.sub("", told))  # a style in there would be the whole page's
    root = _ROOT.match(told)
    if not root:
        raise ValueError("not matplotlib's SVG")
    body = told[root.end() : told.rindex("</svg>")]
    body = re.sub(r"<[^>]+>", lambda tag: _short(tag[0]), body)
    body = _IMAGE.sub(lambda image: _small(image[0]), _own_ids(body, prefix).replace("xlink:href", "href"))
    return Inline(title, caption, re.sub(r"\n\s*", "\n", body).strip(), float(root["width"]), float(root["height"]))


def _short(tag: str) -> str:
    """Hundredths of a point are enough, of a long path tenths; the font is the page's."""
    tag = _FONT.sub("", _COORDINATES.sub(lambda found: _rounded(found[0]), tag))
    if not tag.startswith("<path"):
        return tag
    tag = tag.replace("\n", "")
    return re.sub(r"(?<=[\d ])L ", "", tag) if " C " not in tag else tag  # after M points are joined by lines


def _rounded(coordinates: str) -> str:
    digits = 1 if len(coordinates) > LONG else 2
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{digits}f}", coordinates)


def _small(image: str) -> str:
    """An image in base64, in 256 colours if it is large."""
    if len(image) < LARGE:
        return "".join(image.split())
    told = io.BytesIO()
    whole = Image.open(io.BytesIO(base64.b64decode(image)))
    whole.quantize(256, method=Image.Quantize.FASTOCTREE).save(told, "png", optimize=True)
    return base64.b64encode(told.getvalue()).decode()


def _own_ids(body: str, prefix: str) -> str:
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", body)
