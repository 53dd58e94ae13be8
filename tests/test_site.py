"""The site: built from the committed lessons and side roads, read in a real browser.

Everything is read from files, as a reader without a network would.
"""

import functools
import importlib.resources
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from publish.lessons import (
    DEFINED,
    FURTHER,
    find_lessons,
    find_pages,
    lesson_of,
    pictures,
    prose,
)
from publish.site import book

import nbformat
import pytest
from bs4 import BeautifulSoup

LESSONS = find_lessons()
NOTEBOOKS = find_pages()
PAGES = ["index", *NOTEBOOKS, "equations", "search"]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
PHONE, DESK = ({"width": 390, "height": 844}, {"width": 1280, "height": 900})


@functools.cache
def read(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def markdown(name):
    return prose(read(name))


def count_formulas(text):
    """Count formulas as a reader of the Markdown would."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    displayed = re.findall(r"\$\$.+?\$\$", text, flags=re.S)
    text = re.sub(r"\$\$.+?\$\$", "", text, flags=re.S)
    inline = re.findall(r"(?<!\\)\$[^$]+?(?<!\\)\$", re.sub(r"`[^`\n]+`", "", text))
    return len(displayed) + len(inline)


# --- the parts ----------------------------------------------------------------


def finished(body):
    homes = {"eq-3.4": "", "eq-4.1": "04.html", "fig-3.2": "", "sec-4.12": "04.html"}
    return book.finish(
        body, lambda label: f"{homes[label]}#{label}" if label in homes else None
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("by (3.4).", 'by (<a class="number" href="#eq-3.4">3.4</a>).'),
        ("(4.1, 9.9)", '(<a class="number" href="04.html#eq-4.1">4.1</a>, 9.9)'),
        ("figure 3.2", 'figure <a class="number" href="#fig-3.2">3.2</a>'),
        (
            "sections 4.1 to 4.12",
            'sections 4.1 to <a class="number" href="04.html#sec-4.12">4.12</a>',
        ),
        ("a &lt; b &amp; (9.9)", "a &lt; b &amp; (9.9)"),
        ("<code>f(3.4)</code>", "<code>f(3.4)</code>"),
        ("<strong>Figure 3.2.</strong> It", "<strong>Figure 3.2.</strong> It"),
        ('<p id="references">(3.4)</p>', '<p id="references">(3.4)</p>'),
        (
            '<pre><span class="c1"># a &lt; b (3.4)</span> (3.4)</pre>',
            '<pre><span class="c1"># a &lt; b '
            '(<a class="number" href="#eq-3.4">3.4</a>)</span> (3.4)</pre>',
        ),
        (
            '<div class="math">\\begin{split}x \\\\ y \\tag{3.4}\\end{split}</div>',
            '<span id="eq-3.4"></span><div class="math">x \\\\ y \\tag{3.4}</div>',
        ),
        (
            '<div class="math">x \\tag{3.4} (3.4)</div>',
            '<span id="eq-3.4"></span><div class="math">x \\tag{3.4} (3.4)</div>',
        ),
        (
            '(<span class="math">x</span>, (3.4))',
            '<span class="together">(<span class="math">x</span>,</span> '
            '(<a class="number" href="#eq-3.4">3.4</a>))',
        ),
        ('a <span class="math">x</span> b', 'a <span class="math">x</span> b'),
        (
            '<td><code><span class="pre">log_var_</span></code></td>',
            '<td><code><span class="pre">log_<wbr/>var_</span></code></td>',
        ),
    ],
)
def test_mentions_of_a_number_lead_to_where_it_is_given(body, expected):
    assert finished(body) == expected


def test_a_picture_is_described_by_its_caption():
    made = BeautifulSoup(
        finished(
            '<div class="cell"><img src="a"/></div><p><strong>Figure 3.2.</strong> '
            'A <em>wave</em>, <span class="math">\\(s\\)</span> wide. And more.</p>'
        ),
        "html.parser",
    )
    assert made.img["alt"] == "Figure 3.2. A wave, s wide."
    assert made.img["id"] == "fig-3.2"


@pytest.mark.parametrize(
    "text",
    [
        "Before. (**A slip worth knowing:** it (so) says $x$.) After.",
        "> **A slip worth knowing.** It (so) says\n> $x$.",
        "**A slip worth knowing.** It (so) says $x$.\n\nAfter.",
    ],
)
def test_slips_are_found_in_every_form_of_their_box(text):
    lesson = nbformat.v4.new_notebook()
    lesson.cells = [
        nbformat.v4.new_markdown_cell(f"## 3.2 A section\n\nText.\n\n{text}")
    ]
    ((section, slip),) = book.slips(lesson)
    assert section == "3.2"
    assert " ".join(slip.split()) == "It (so) says $x$."


def test_a_slip_is_told_to_its_end():
    told = ["It says,", "$$x, \\tag{3.4}$$", "so", "$$y. \\tag{3.5}$$"]
    lesson = nbformat.v4.new_notebook()
    text = "\n\n".join([f"**A slip worth knowing.** {told[0]}", *told[1:], "After."])
    lesson.cells = [nbformat.v4.new_markdown_cell(text)]
    ((_, slip),) = book.slips(lesson)
    assert slip.split() == " ".join(told).split()


# --- the site, as files -------------------------------------------------------


def build_site(pages, site):
    command = ["-m", "sphinx", "-q", "-E", "-W", "-c", Path(book.__file__).parent]
    made = subprocess.run(
        [sys.executable, *command, pages, site],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def read_site(site, names):
    return {
        name: BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")
        for name in names
    }


def find_ids(soups):
    return {
        name: {tag["id"] for tag in soup.find_all(id=True)}
        for name, soup in soups.items()
    }


def find_dead_links(site, soups):
    """Return the links inside a site that lead nowhere, each with its page."""
    ids, dead = find_ids(soups), []
    for name, soup in soups.items():
        for link in soup.find_all("a", href=True):
            target, _, part = link["href"].partition("#")
            if ":" not in target:
                target = target or Path(name).with_suffix(".html").name
                target = os.path.normpath(Path(name).parent / target)
                page = target.removesuffix(".html")
                if not (site / target).exists():
                    dead.append((name, link))
                if part and part not in ids.get(page, [part]):
                    dead.append((name, link))
    return dead


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "pages" / FURTHER).mkdir(parents=True)
    for name, path in NOTEBOOKS.items():
        shutil.copy(path, folder / "pages" / f"{name}.ipynb")
    build_site(folder / "pages", folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def soups(site):
    return read_site(site, PAGES)


@pytest.fixture(scope="module")
def ids(soups):
    return find_ids(soups)


def test_every_link_inside_the_site_leads_somewhere(site, soups):
    assert not find_dead_links(site, soups)


def test_every_equation_can_be_linked_to_and_every_mention_is_a_link(soups, ids):
    homes = {
        n: name for name in NOTEBOOKS for n in DEFINED["eq"].findall(markdown(name))
    }
    for number, name in homes.items():
        assert f"eq-{number}" in ids[name], number
    linked = set()
    for name in NOTEBOOKS:
        for link in soups[name].select("a.number"):
            linked.add((name, homes.get(link.text)))
        # Another lesson's number of a section is one of a book that is cited.
        for link in soups[name].select("article a.number[href*='.html#sec-']"):
            assert f"{lesson_of(name)}.html" in link["href"], link
        article = soups[name].article
        closed = set(map(id, article.select("pre, .math, #references, a, code")))
        text = "".join(
            string
            for string in article.strings
            if closed.isdisjoint(map(id, string.parents))
        )
        left = re.findall(rf"\(({book.NUMBER})[,)]", text)
        assert not set(left) & set(homes), name
    across = {(here, there) for here, there in linked if there not in (here, None)}
    assert any(lesson_of(a) != lesson_of(b) for a, b in across), "from no lesson to one"


def test_the_page_of_equations_lists_every_check_and_every_slip(soups):
    text = soups["equations"].article
    listed = [item.text for item in text.select("ul.checks li")]
    for name in NOTEBOOKS:
        for number in DEFINED["eq"].findall(markdown(name)):
            assert f"\\tag{{{number}}}" in text.text
            assert any(item.startswith(f"({number}) ") for item in listed), number
        for number, statement, method, gap in book.checks(read(name)):
            assert f"{number} {statement}: {method}, {gap}" in listed
    slips = sum(markdown(name).count("**A slip worth knowing") for name in NOTEBOOKS)
    section = text.find(id="slips-worth-knowing")
    assert len(section.select("strong > a[href*='#sec-']")) == slips > 0


def test_the_start_page_has_a_picture_of_each_lesson_and_the_pages_a_road(soups):
    cards = soups["index"].select(".lesson")
    assert [card.a["href"] for card in cards] == [f"{name}.html" for name in LESSONS]
    road = ["index", *LESSONS, "equations"]
    for name, after in itertools.pairwise(road):
        assert soups[name].select_one("a.right-next")["href"] == f"{after}.html"
        assert soups[after].select_one("a.left-prev")["href"] == f"{name}.html"


A_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJ"
    "RU5ErkJggg=="
)


def tiny_page(*texts):
    """Return a notebook with a picture between two texts."""
    first, second = map(nbformat.v4.new_markdown_cell, texts)
    picture = nbformat.v4.new_output("display_data", {"image/png": A_PIXEL})
    code = nbformat.v4.new_code_cell("plot()", outputs=[picture])
    return nbformat.v4.new_notebook(
        cells=[first, code, second], metadata={"language_info": {"name": "python"}}
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A site of two lessons, the first with a side road, and its pages."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "pages" / FURTHER).mkdir(parents=True)
    made = {
        "01_a": tiny_page(
            "# 1. A\n\n**In this lesson** you see A. [More](further/01_a.ipynb).",
            "**Figure 1.1.** A pixel.\n\n$$1 \\tag{1.1}$$\n\nIn section 1.2 is (1.2).",
        ),
        "further/01_a": tiny_page(
            "# Beside A\n\nOf [A](../01_a.ipynb), in [the road](../../README.md).",
            "**Figure 1.2.** A pixel.\n\n## 1.2 More\n\n$$2 \\tag{1.2}$$\n\nNot (1.1).",
        ),
        "02_b": tiny_page(
            "# 2. B\n\n**In this lesson** you see more.", "**Figure 2.1.** A pixel."
        ),
    }
    for name, page in made.items():
        nbformat.write(page, folder / "pages" / f"{name}.ipynb")
    build_site(folder / "pages", folder / "site")
    return folder / "site", read_site(folder / "site", ["index", *made, "equations"])


def test_the_list_of_pages_has_a_side_road_under_its_lesson(tiny):
    _, soups = tiny
    for name, soup in soups.items():
        listed = [
            [link.text.strip() for link in entry("a")]
            for entry in soup.select("header .bd-navbar-elements > li ul > li")
        ]
        lists = [["1. A", "Beside A"], ["Beside A"], ["2. B"], ["Equations and slips"]]
        assert listed == lists, name
    above = [link.text for link in soups["further/01_a"].select(".bd-breadcrumbs a")]
    assert above[-1] == "1. A"
    links = [link["href"] for link in soups["index"].select(".lesson a[href*=further]")]
    assert links == ["further/01_a.html"]


def test_the_road_leads_past_side_roads(tiny):
    _, soups = tiny
    assert soups["01_a"].select_one("a.right-next")["href"] == "02_b.html"
    assert soups["02_b"].select_one("a.left-prev")["href"] == "01_a.html"
    assert soups["further/01_a"].select_one("a.left-prev")["href"] == "../01_a.html"
    assert soups["further/01_a"].select_one("a.right-next")["href"] == "../02_b.html"


def test_a_lesson_and_its_side_road_lead_to_each_other(tiny):
    site, soups = tiny
    assert not find_dead_links(site, soups)
    links = {
        name: {link["href"] for link in soups[name].select("article a[href]")}
        for name in soups
    }
    beside = {f"further/01_a.html{part}" for part in ("", "#eq-1.2", "#sec-1.2")}
    assert beside <= links["01_a"]
    assert {"../01_a.html", "../01_a.html#eq-1.1", "../index.html"} <= (
        links["further/01_a"]
    )
    assert {"01_a.html", "further/01_a.html"} <= links["equations"]


def test_a_page_that_was_not_run_says_so(tiny):
    _, soups = tiny
    notices = {name: soup.select("article .admonition") for name, soup in soups.items()}
    assert [name for name, found in notices.items() if found] == ["further/01_a"]
    assert "make run FURTHER=1" in notices["further/01_a"][0].text


def test_a_page_that_was_run_does_not_say_that_it_was_not():
    side_road, tags = tiny_page("# A", "B"), {"further"}
    app = SimpleNamespace(
        pages={"further/01_a": side_road}, tags=SimpleNamespace(has=tags.__contains__)
    )
    for ran in True, False:
        source = [nbformat.writes(side_road)]
        book.prepare_page(app, "further/01_a", source)
        assert ("This build did not run the page" in source[0]) != ran
        tags.clear()


# --- the site, in a browser ---------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as opened,
    ):
        yield opened


class Visit:
    """A page in the browser, and what went wrong while it was read."""

    def __init__(self, browser, address):
        self.page = browser.new_page(viewport=PHONE, color_scheme="light")
        self.page.set_default_timeout(120_000)  # on a busy machine too
        self.wrong = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(request.url))
        self.page.on("console", self._on_console)
        self.page.on("request", self._on_request)
        self.page.goto(address)
        self.page.evaluate("() => window.MathJax?.startup.promise.then(() => 0)")

    def _on_console(self, message):
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _on_request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(f"the network was asked for {request.url}")

    def show(self, size, theme):
        self.page.set_viewport_size(size)
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function(
            "theme => document.documentElement.dataset.theme === theme", arg=theme
        )


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, site):
    visit = Visit(browser, (site / f"{request.param}.html").as_uri())
    visit.name = request.param
    yield visit
    visit.page.close()


# What sticks out to the right of the screen, and formulas whose left end is cut off.
TOO_WIDE = """() => {
  const scrolls = e => e && e.tagName !== "ARTICLE" && (
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
    || scrolls(e.parentElement));
  const wide = [...document.querySelectorAll("main *:not(mjx-container *, pre *)")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1
      && e.checkVisibility() && !scrolls(e.parentElement));
  const cut = [...document.querySelectorAll("mjx-math")]
    .filter(e => e.getBoundingClientRect().left < 0);
  return [document.documentElement.scrollWidth - innerWidth,
          [...wide, ...cut].slice(0, 3).map(e => e.outerHTML.slice(0, 200))];
}"""


def test_it_is_as_wide_as_a_phone(visit):
    visit.show(PHONE, "light")
    assert visit.page.evaluate(TOO_WIDE) == [0, []]


# Boxes that scroll: how many, and of which ends it is not seen that there is more.
UNSEEN = """async () => {
  const article = document.querySelector("article, main");
  const frame = () => new Promise(
    done => requestAnimationFrame(() => setTimeout(done, 100)));
  const folded = [...article.querySelectorAll("details")];
  for (const one of folded) one.open = true;
  await frame();
  const boxes = [...article.querySelectorAll("*:not(mjx-container *)")].filter(
    e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
      && e.checkVisibility() && e.scrollWidth > e.clientWidth + 4);
  const unseen = new Set();
  for (const [to, sides] of [["0", "right"], ["1e6", "left"], ["20", "left right"]]) {
    for (const box of boxes) box.scrollLeft = to;
    await frame();
    for (const box of boxes) {
      if (!box.matches("[tabindex='0'], :has([tabindex='0'])")) unseen.add("no focus");
      const mask = getComputedStyle(box).maskImage;
      const short = box.scrollWidth < box.clientWidth + 30;
      for (const side of ["left", "right"])
        if (!short && box.classList.contains("more-" + side) !== sides.includes(side)
            || mask === "none") unseen.add(to + box.outerHTML.slice(0, 200));
    }
    for (const box of boxes) box.scrollLeft = 0;
  }
  for (const one of folded) one.open = false;
  return [boxes.length, [...unseen].slice(0, 3)];
}"""


def test_what_scrolls_sideways_shows_that_it_does(visit):
    visit.show(PHONE, "light")
    boxes, unseen = visit.page.evaluate(UNSEEN)
    assert unseen == []
    assert boxes > 0 or visit.name == "search"


# How far the number of an equation is from the formula, where it is least.
GAPS = """() => Math.min(...[...document.querySelectorAll("mjx-labels mjx-mtd")].map(
  number => number.getBoundingClientRect().left - Math.max(
    ...[...number.closest("mjx-mtable").querySelectorAll("mjx-itable mjx-mtd")]
      .filter(e => !e.closest("mjx-labels"))
      .map(e => e.getBoundingClientRect().right))))"""


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_number_of_an_equation_is_beside_it(visit, size):
    if visit.name not in [*NOTEBOOKS, "equations"]:
        pytest.skip("no equations")
    visit.show(size, "light")
    assert 5 < visit.page.evaluate(GAPS) < 1000


LEFT_RAW = r"""() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const raw = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (/\\[a-zA-Z(\[]|\$/.test(node.data)
        && !node.parentElement.closest("pre, code, script, style, mjx-container"))
      raw.push(node.data);
  }
  return raw;
}"""


def test_all_formulas_of_the_source_are_rendered(visit):
    tags = visit.page.locator("article mjx-labels mjx-mtd").count()
    if visit.name in NOTEBOOKS:
        text = markdown(visit.name)
        formulas = visit.page.locator("article mjx-container").count()
        assert formulas == count_formulas(text)
        assert tags == len(DEFINED["eq"].findall(text))
    elif visit.name == "equations":
        assert tags >= sum(len(DEFINED["eq"].findall(markdown(n))) for n in NOTEBOOKS)
    assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert visit.page.evaluate(LEFT_RAW) == []


def test_every_figure_is_seen_and_described(visit):
    figures = visit.page.evaluate(
        """() => [...document.querySelectorAll("article img")].map(e => [e.alt,
          e.checkVisibility() && e.naturalWidth > 0
          && e.getBoundingClientRect().width > 100])"""
    )
    expected = 0
    if visit.name in NOTEBOOKS:
        expected = sum(len(pictures(cell)) for cell in read(visit.name).cells)
    elif visit.name == "index":
        expected = len(LESSONS)
    assert len(figures) >= expected
    for alt, seen in figures:
        assert seen, alt
        assert len(alt) > 15
        assert re.match(r"Figure \d\.\d+\. ", alt) or visit.name == "index", alt


def test_code_can_be_copied(visit):
    cells = visit.page.locator("div.cell_input").count()
    assert visit.page.locator("div.cell_input button.copybtn").count() == cells
    assert visit.page.locator("div.cell_output button.copybtn").count() == 0


# What unfolds each folded cell, and whether its code is seen: at first, after a click,
# and after another. With the code of a solution goes what it prints.
FOLDS = """() => [...document.querySelectorAll("details")].map(folded => {
  const seen = [], code = folded.querySelector("pre");
  const output = folded.parentElement.querySelector(":scope > .cell_output");
  const prompt = folded.querySelector("summary .collapsed").textContent.trim();
  for (const _ of [1, 2, 3]) {
    seen.push(code.checkVisibility());
    if (prompt === "Show the solution" && output.checkVisibility() !== seen.at(-1))
      seen.push("what it prints");
    folded.querySelector("summary").click();
  }
  folded.open = false;
  return [prompt, ...seen];
})"""


def test_what_is_folded_is_seen_when_it_is_asked_for(visit):
    cells = read(visit.name).cells if visit.name in NOTEBOOKS else []
    folded = [set(cell.metadata.get("tags", [])) for cell in cells]
    prompts = [
        "Show the solution" if "solution" in tags else "Show the code"
        for tags in folded
        if "hide-input" in tags
    ]
    expected = [[prompt, False, True, False] for prompt in prompts]
    assert visit.page.evaluate(FOLDS) == expected


# One letter stands for each formula, and one word for all that have its colour in
# code: thousands of elements fewer. Colours change at once.
LIGHTEN = """() => {
  for (const formula of document.querySelectorAll("mjx-container")) {
    formula.style.minWidth = formula.getBoundingClientRect().width + "px";
    formula.replaceChildren("x");
  }
  const seen = new Set();
  for (const word of document.querySelectorAll("pre span[class]:not(:has(a))")) {
    const kind = word.closest("div[class*=highlight-]")?.className + word.className;
    if (seen.has(kind)) word.replaceWith(word.textContent);
    seen.add(kind);
  }
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; }";
  document.head.append(style);
}"""
FAULTS = """async contrast => (await axe.run(document, {
    preload: false, resultTypes: ["violations"],
    rules: {"color-contrast": {enabled: contrast}}})).violations
  .filter(v => ["serious", "critical"].includes(v.impact))
  .map(v => [v.id, v.nodes.length, v.nodes[0].any[0]?.message,
             v.nodes.slice(0, 5).map(n => n.html.slice(0, 300))])"""


# Each width and each theme once: what is wrong in a theme is wrong at either width. The
# pages of notebooks are made of the same parts, so they take turns, and their colours,
# which take most of the time, are looked at once in each theme.
LOOKS = [(PHONE, "dark"), (DESK, "light")]


def test_axe_finds_no_serious_fault(visit):
    script = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    visit.page.evaluate(script.read_text("utf-8"))
    visit.page.evaluate(LIGHTEN)
    alike = ["equations", *NOTEBOOKS]
    turn = alike.index(visit.name) if visit.name in alike else None
    contrast = turn is None or turn < len(LOOKS)
    for size, theme in LOOKS if turn is None else [LOOKS[turn % len(LOOKS)]]:
        visit.show(size, theme)
        assert visit.page.evaluate(FAULTS, contrast) == [], theme


def test_nothing_went_wrong_and_nothing_was_asked_of_the_network(visit):
    assert visit.wrong == []


def test_search_finds_a_word_without_a_network(browser, site):
    visit = Visit(browser, (site / "search.html").as_uri() + "?q=huffman")
    visit.page.wait_for_selector("#search-results li a")
    found = visit.page.locator("#search-results li a").all_inner_texts()
    assert any("Maximum entropy" in text for text in found), found
    assert visit.wrong == []


def test_a_link_leads_to_the_equation_of_another_page(browser, tiny):
    site, _ = tiny
    visit = Visit(browser, (site / "further/01_a.html").as_uri())
    visit.page.locator("article a.number[href*='.html#eq-']").click()
    visit.page.wait_for_url("**/01_a.html#eq-1.1")
    assert visit.page.locator("[id='eq-1.1']").count() == 1
    assert visit.wrong == []


def test_a_button_makes_it_dark(browser, site):
    visit = Visit(browser, (site / "index.html").as_uri())
    visit.page.set_viewport_size(DESK)
    for theme in ("dark", "light"):
        visit.page.locator("button.theme-switch-button:visible").click()
        visit.page.locator(f"button[data-mode={theme}]:visible").click()
        assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
    assert visit.wrong == []


def test_the_list_of_pages_is_on_the_screen(browser, site):
    visit = Visit(browser, (site / "index.html").as_uri())
    visit.page.set_viewport_size(DESK)
    visit.page.get_by_role("button", name="Contents").click()
    box = visit.page.locator(".dropdown-menu.show").bounding_box()
    assert 0 <= box["x"] <= DESK["width"] - box["width"]
