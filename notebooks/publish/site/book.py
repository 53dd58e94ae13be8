"""What makes a book of the executed lessons; `conf.py` names it as an extension.

Before Sphinx reads the lessons and their side roads, the start page and the page of
equations and slips are written beside them. After it has made a page, mentions of an
equation, figure, section or exercise become links, and pictures are described by their
captions. Side roads hang from their lessons, and the road leads past them.
All of it is read off the pages, by the patterns of `lessons.py` and those below.
"""

import html
import re
import shutil
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from ..lessons import (
    DEFINED,
    FOLDER,
    FURTHER,
    NUMBER,
    find_lessons,
    find_pages,
    is_side_road,
    lesson_of,
    prose,
    read_notebooks,
    title,
)
from ..pictures import first_figure

# Where it is spoken of, on a page: "(3.4)", "(3.4, 3.6)", "sections 3.4 and 3.6".
_SEVERAL = rf"{NUMBER}(?:(?:, and|,| and| or| to) {NUMBER})*"
MENTIONED = re.compile(
    rf"\((?P<eq>{NUMBER}(?:, {NUMBER})*)\)"
    rf"|\b[Ff]igures? (?P<fig>{_SEVERAL})"
    rf"|\b[Ss]ections? (?P<sec>{_SEVERAL})"
    rf"|\b[Ee]xercises? (?P<ex>{_SEVERAL})"
)
# Nothing is linked in here. Of code, comments are.
CLOSED = ["a", "h1", "h2", "h3", "h4", "code", "pre", "script", "style", "button"]
SLIP = re.compile(r"\*\*A slip worth knowing[.:]\*\*\s*")
# A sentence is over, in the text or in a displayed formula.
ENDED = re.compile(r"[.!?]\W*(\\tag\{[^}]*\}\s*)?(\$\$)?\s*$")


# --- reading the pages ------------------------------------------------------


def find_homes(pages):
    """Return the page on which each "eq-3.4", "fig-3.2" and so on is found."""
    return {
        f"{kind}-{number}": name
        for name, page in pages.items()
        for kind, pattern in DEFINED.items()
        for number in pattern.findall(prose(page))
    }


def alt_text(caption):
    r"""Return number and first sentence of a caption, without its mark-up.

    >>> alt_text(r"**Figure 1.1.** A *die*, $\mathcal N$ rolls. What not to conclude.")
    'Figure 1.1. A die, N rolls.'
    """
    plain = re.sub(r"\\(math[a-z]+|operatorname|text)\b ?", "", caption)
    plain = re.sub(r"\\[()]|[\\{}$*`]", "", " ".join(plain.split()))
    return re.match(rf"(Figure {NUMBER}\. )?(.+?[.?!](?= |$)|.+)", plain).group(0)


# --- pages written for Sphinx to read -----------------------------------------


def start_page(readme, pages, pictures):
    """Return the top of the README, its table of lessons as cards with pictures."""
    top = readme.split("<!-- end of start page -->")[0]
    cards = ["`````{container} lessons"]
    for name, picture in pictures.items():
        lesson, side_road = pages[name], pages.get(f"{FURTHER}/{name}")
        alt = alt_text(first_figure(lesson)[1])
        promise = re.search(r"\*\*In this lesson\*\* (.+?[.:;])\s", prose(lesson))
        promise = promise.group(1)[:-1] + "."
        cards += [
            "````{container} lesson",
            f"[![{alt}]({picture})]({name}.ipynb)\n",
            f"**[{title(lesson)}]({name}.ipynb)**\n",
            promise[0].upper() + promise[1:],
        ]
        if side_road:
            link = f"[{title(side_road)}]({FURTHER}/{name}.ipynb)"
            cards.append(f"\nIts side road: {link}")
        cards.append("````")
    cards = "\n".join([*cards, "`````", ""])
    table = re.compile(r"(?:^\|.*\n)*^\|.*\]\(notebooks/.*\n(?:^\|.*\n)*", re.M)
    top, found = table.subn(lambda _: cards, top, count=1)
    contents = "```{toctree}\n:hidden:\n:glob:\n\n0*\nequations\n```\n"
    return "\n".join([top if found else top + cards, contents]).replace(
        "](notebooks/", "]("
    )


def checks(lesson):
    """Return the rows of the ledger that a lesson prints: number, statement, …"""
    for cell in lesson.cells:
        if cell.source.strip() == "ledger()":
            table = BeautifulSoup(cell.outputs[0].data["text/html"], "html.parser")
            rows = [[td.text for td in tr("td")] for tr in table("tr")]
            return [row for row in rows if row]
    return []


def slips(lesson):
    """Return the slips that a lesson has a box for, each with its section."""
    found, section = [], None
    blocks = iter(re.split(r"\n\s*\n", prose(lesson)))
    for block in blocks:
        heading = DEFINED["sec"].search(block)
        section = heading.group(1) if heading else section
        start = SLIP.search(block)
        if start is None:
            continue
        text = re.sub(r"^> ?", "", block[start.end() :], flags=re.M)
        if block[: start.start()].endswith("("):
            text = _until_closed(text)
        while not ENDED.search(text):  # a formula follows, or what follows from it
            more = next(blocks, None)
            if more is None:
                break
            text += "\n\n" + more
        found.append((section, text[0].upper() + text[1:]))
    return found


def _until_closed(text):
    depth = 1
    for i, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:i]
    return text


def equations_page(pages):
    """Return the page of all slips, and all equations with their checks."""
    page = ["# Equations and slips", EQUATIONS_INTRODUCTION, "## Slips worth knowing"]
    page.append("Where a post that the lessons follow, or a book, went wrong:")
    for lesson in pages.values():
        page += [f"**Section {section}.** {text}" for section, text in slips(lesson)]
    for name, lesson in pages.items():
        level, what = ("###", "side road") if is_side_road(name) else ("##", "lesson")
        page += [f"{level} {title(lesson)}", f"[The {what}]({name}.ipynb)"]
        ledger = checks(lesson)
        for formula in re.findall(r"\$\$.+?\$\$", prose(lesson), re.S):
            numbers = DEFINED["eq"].findall(formula)
            if numbers:
                formula = re.sub(r"^> ?", "", formula, flags=re.M)
                items = [
                    f"<li>{number} {html.escape(statement)}: {method}, "
                    f"<span>{gap}</span></li>"
                    for number, statement, method, gap in ledger
                    if number.strip("()") in numbers
                ]
                page += [formula, "\n".join(["<ul class=checks>", *items, "</ul>"])]
    return "\n\n".join(page) + "\n"


EQUATIONS_INTRODUCTION = """\
Every numbered equation of the lessons and their side roads, and the checks that it
passed when its page was last run. A check computes both sides in different ways.
*Symbolic*: their difference simplifies to zero. *Numbers*: they agree but for |Δ|, and
would not if one side were off by one per cent, or by a smaller step that the check
names. *Monte Carlo*: they agree within five standard errors. The number leads to the
derivation."""


# --- pages made by Sphinx -----------------------------------------------------


def finish(body, link):
    """Return the HTML of a page with numbers as links and pictures described.

    `link` takes a label, "eq-3.4", and returns its address or None.
    """
    page = BeautifulSoup(body, "html.parser")
    for ledger in page.select(".text_html > table"):
        ledger["class"] = "table"
    _name_targets(page, lambda label: (link(label) or "").startswith("#"))
    _describe_pictures(page)
    _break_lines(page)
    for text in list(page.find_all(string=MENTIONED)):
        if _is_open(text):
            new = MENTIONED.sub(lambda m: _linked(m, link), html.escape(text, False))
            text.replace_with(BeautifulSoup(new, "html.parser"))
    return str(page)


def _name_targets(page, is_here):
    for formula in page.select("div.math"):
        numbers = DEFINED["eq"].findall(formula.text)
        if numbers:  # Sphinx wraps what has two lines in an environment without tags.
            formula.string = re.sub(r"\\(begin|end)\{split\}", "", formula.text)
        for number in numbers:
            if is_here(f"eq-{number}"):
                formula.insert_before(page.new_tag("span", id=f"eq-{number}"))
    for heading in page.find_all("h2"):
        if number := re.match(rf"({NUMBER}) ", heading.text):
            heading["id"] = f"sec-{number.group(1)}"
    for strong in page.find_all("strong"):
        if number := re.match(rf"Exercise ({NUMBER}) ", strong.text):
            strong["id"] = f"ex-{number.group(1)}"


def _describe_pictures(page):
    for strong in page.find_all("strong", string=re.compile(rf"^Figure {NUMBER}\.$")):
        cell = strong.find_previous("div", class_="cell")
        pictures = cell.find_all("img") if cell else []
        for picture in pictures:
            picture["alt"] = alt_text(strong.parent.text)
            picture.wrap(page.new_tag("a", href=picture["src"]))  # in its full size
        if pictures:
            pictures[0]["id"] = "fig-" + strong.text.split()[1].rstrip(".")


def _break_lines(page):
    """Let lines break after the parts of a name in a table, not before a comma."""
    for name in page.select("td code span.pre"):
        for part in name.find_all(string=re.compile("_.")):
            new = re.sub("(?<=_)(?=.)", "<wbr>", html.escape(part, False))
            part.replace_with(BeautifulSoup(new, "html.parser"))
    for formula in page.select("span.math"):
        before, after = formula.previous_sibling, formula.next_sibling
        opening = isinstance(before, str) and re.search(r"[(“]+$", before)
        closing = isinstance(after, str) and re.match(r"[-,.;:!?)”’]+(th\b)?", after)
        if opening or closing:
            together = formula.wrap(page.new_tag("span", attrs={"class": "together"}))
        if opening:
            together.insert(0, opening.group())
            before.replace_with(before[: opening.start()])
        if closing:
            together.append(closing.group())
            after.replace_with(after[closing.end() :])


def _is_open(text):
    if text.find_parent(class_="math") or text.find_parent(id="references"):
        return False
    if text.parent.name == "strong" and re.match("Figure|Exercise", text):
        return False  # no mention, but where the number is given
    if text.parent.name == "span" and "c1" in text.parent.get("class", []):
        return True
    return text.find_parent(CLOSED) is None


def _linked(mention, link):
    kind = mention.lastgroup

    def to(number):
        address = link(f"{kind}-{number.group()}")
        if address is None:
            return number.group()
        return f'<a class="number" href="{address}">{number.group()}</a>'

    return re.sub(NUMBER, to, mention.group())


# --- Sphinx -------------------------------------------------------------------


def write_pages(app):
    """Write the pages that are no notebooks, and the pictures of the start page."""
    source = Path(app.srcdir)
    app.pages = pages = read_notebooks(find_pages(source))
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    pictures = {}
    for name in find_lessons(source):
        pictures[name] = f"pictures/{name}.png"
        (source / "pictures").mkdir(exist_ok=True)
        (source / pictures[name]).write_bytes(first_figure(pages[name])[0])
    start = start_page(readme, pages, pictures)
    for picture in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", start):
        own = FOLDER / picture  # of the README, not of a card
        if own.exists() and picture not in pictures.values():
            (source / picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own, source / picture)
    (source / "index.md").write_text(start, encoding="utf-8")
    (source / "equations.md").write_text(equations_page(pages), encoding="utf-8")
    app.homes = find_homes(pages)


def finish_page(app, name, template, context, document):
    """Finish the body of one page, and the links around it."""

    def link(label):
        if label not in app.homes:
            return None
        home = app.homes[label]
        own = name not in app.pages or lesson_of(home) == lesson_of(name)
        if label.startswith("sec-") and not own:
            return None  # lessons name sections of books, and of themselves
        uri = "" if home == name else app.builder.get_relative_uri(name, home)
        return f"{uri}#{label}"

    if "body" in context:
        context["body"] = finish(context["body"], link)
    follow_the_road(app, name, context)
    pathto, list_pages = context["pathto"], context["generate_header_nav_html"]
    context["generate_header_nav_html"] = lambda **options: with_side_roads(
        list_pages(**options), app.pages, pathto
    )


def follow_the_road(app, name, context):
    """Let the links to the page before and after lead past side roads."""
    relations = app.builder.relations
    for place, way in (1, "prev"), (2, "next"):
        neighbour = relations[name][place] if name in relations else None
        while neighbour and is_side_road(neighbour):
            neighbour = relations[neighbour][place]
        if neighbour:
            heading = app.builder.render_partial(app.env.titles[neighbour])["title"]
            context[way] = {"link": context["pathto"](neighbour), "title": heading}


def with_side_roads(listed, pages, pathto):
    """Return the list of pages in the top bar, under each lesson its side road."""
    listed = BeautifulSoup(listed, "html.parser")
    for name in filter(is_side_road, pages):
        lesson = listed.find("a", href=pathto(lesson_of(name)))
        kind, text = " ".join(lesson["class"]), html.escape(title(pages[name]))
        link = f'<ul><li><a class="{kind}" href="{pathto(name)}">{text}</a></li></ul>'
        lesson.insert_after(BeautifulSoup(link, "html.parser"))
    return str(listed)


def prepare_page(app, name, source):
    """Change the source of a page where the site is not the folder of the lessons.

    Links to the README, which is no page, lead to the start page. What unfolds a
    solution says so. A lesson has its side road below it in the table of contents; a
    page that was not run says so.
    """
    source[0] = source[0].replace("../README.md)", "index.md)")
    if name not in app.pages:
        return
    page = nbformat.reads(source[0], as_version=4)
    for cell in page.cells:
        if "solution" in cell.metadata.get("tags", []):
            cell.metadata["mystnb"] = {"code_prompt_show": "Show the solution"}
    if is_side_road(name) and not app.tags.has("further"):
        top = page.cells[0]
        top.source = re.sub(r"^# .+", rf"\g<0>\n\n{NOT_RUN}", top.source, count=1)
    if f"{FURTHER}/{name}" in app.pages:
        below = f"```{{toctree}}\n:hidden:\n\n{FURTHER}/{name}\n```"
        page.cells.append(nbformat.v4.new_markdown_cell(below))
    source[0] = nbformat.writes(page)


NOT_RUN = """\
```{note}
The outputs on this page are those that its authors committed, from the default
preset. This build did not run the page; `make run FURTHER=1` does.
```"""


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("source-read", prepare_page)
    app.connect("html-page-context", finish_page, priority=900)  # after the theme
