"""As much of SVG as a chart takes."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-weight: 600; } .small { font-size: 12px; fill: #656d76; } .value { font-weight: 600; }
.ours { fill: #0969da; } .other { fill: #afb8c1; } .ours-text { font-weight: 600; }
.ours-line { stroke: #0969da; stroke-width: 2; fill: none; }
.other-line { stroke: #8c959f; stroke-width: 1.5; fill: none; }
.range { stroke: #1f2328; stroke-width: 1.2; } .axis { stroke: #d0d7de; }
.one { stroke: #cf222e; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .small { fill: #8d96a0; } .ours { fill: #4493f8; } .other { fill: #6e7681; }
.ours-line { stroke: #4493f8; } .other-line { stroke: #8d96a0; }
.range { stroke: #e6edf3; } .axis { stroke: #3d444d; } .one { stroke: #f85149; }
}
"""


class Drawing:
    """Shapes on a page of so many pixels; y goes down. ``kind`` names classes of the style sheet."""

    def __init__(self, width: float) -> None:
        self._width = width
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str, anchor: str = "start") -> None:
        """Words whose line stands at ``y``."""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Filled, at least a pixel wide, so that it is seen."""
        size = f'width="{max(1.0, width):.1f}" height="{height:.1f}"'
        self._shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}"/>')

    def line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        """A straight one."""
        self._shapes.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{kind}"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """From point to point."""
        self._shapes.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{kind}"/>')

    def svg(self, height: float, *, title: str) -> str:
        """All of it."""
        size = f'viewBox="0 0 {self._width:g} {height:g}" width="{self._width:g}" height="{height:g}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{escape(title)}</title>'
        return "\n".join([head, f"<style>{_STYLE}</style>", *self._shapes, "</svg>"]) + "\n"
