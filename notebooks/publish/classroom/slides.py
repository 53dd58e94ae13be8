"""A lesson as slides: an nbconvert preprocessor lays it out."""

import copy
import re

from nbconvert.preprocessors import Preprocessor

from ..lessons import DEFINED, EXERCISE, pictures
from .assignments import defines_check, relink, tags

LINES = 15  # of text that a slide holds, about
WIDTH = 92  # characters in a line
REFERENCES = re.compile(r"^## References", re.M)


class Slides(Preprocessor):
    """Lay a lesson out as slides.

    A heading begins a column. Under it, text is cut between paragraphs into slides
    that hold it, a figure stands alone with its caption, and code with what it prints.
    Left out: setup, sliders, folded code, acceptance checks, solutions and references.
    """

    def preprocess(self, nb, resources):
        cells, begun, last = [], False, None
        for cell, following in zip(nb.cells, [*nb.cells[1:], None], strict=True):
            begun = begun or cell.source.startswith("## ")
            if cell.cell_type == "markdown":
                cell.source, *references = REFERENCES.split(cell.source)
                relink(cell, r"\1.slides.html")
                if following is None or "parameters" not in tags(following):
                    cells += self.pages(cell, last)
                if references:
                    break
            elif begun and not self.left_out(cell):
                if pictures(cell) or "hide-input" in tags(cell):
                    cell.metadata["transient"] = {"remove_source": True}
                cells.append(self.typed(cell, "subslide"))
            last = cell
        nb.cells = cells
        return nb, resources

    @staticmethod
    def left_out(cell):
        hidden = {"solution", "remove-output", "parameters"} & set(tags(cell))
        silent = "hide-input" in tags(cell) and not cell.outputs
        return hidden or silent or defines_check(cell)

    @staticmethod
    def typed(cell, kind):
        cell.metadata["slideshow"] = {"slide_type": kind}
        return cell

    def pages(self, cell, last):
        pages, room = [], 0
        for block in blocks(cell.source):
            heading = re.match(r"##? ", block)
            caption = DEFINED["fig"].match(block) and last and pictures(last)
            need = height(block)
            exercise = EXERCISE.match(block)
            if not pages or heading or need > room or exercise or caption:
                kind = "slide" if heading else "-" if caption else "subslide"
                pages.append((kind, []))
                # Under a picture only its caption.
                room = 0 if caption else LINES
            pages[-1][1].append(block)
            room -= need
        out = []
        for n, (kind, parts) in enumerate(pages):
            page = copy.deepcopy(cell)
            page.id = f"{cell.id[:50]}-{n}"
            page.source = "\n\n".join(parts)
            out.append(self.typed(page, kind))
        return out


def blocks(markdown):
    """Paragraphs, lists, tables and formulas of a text, a formula with its lead.

    >>> blocks("Let\\n\\n$$x$$\\n\\nbe.\\n\\nEnd.")
    ['Let\\n\\n$$x$$', 'be.', 'End.']
    """
    parts = []
    for part in re.split(r"\n\s*\n", markdown.strip()):
        joined = parts and (
            part.startswith("$$") or re.fullmatch(r"#+ .*", parts[-1].split("\n\n")[-1])
        )
        if joined:
            parts[-1] += f"\n\n{part}"
        else:
            parts.append(part)
    return parts


def height(block):
    """Lines of a slide that a block takes, about."""
    lines = 0.5
    for line in block.splitlines():
        if line.startswith("$$"):
            lines += 3
        elif line.startswith("#"):
            lines += 2
        elif line.startswith("|"):
            lines += 1.3
        else:
            visible = re.sub(r"\\[a-zA-Z]+|\]\([^)]*\)|[{}$*_^]", "", line)
            lines += -(-len(visible) // WIDTH)
    return lines
