"""The pictures of the README and of the site's start page: figures of the lessons.

`make outputs` writes those of the README into `notebooks/pictures/`, and a test demands
that they are those of the lessons. The start page is the top of the README, with the
first figure of each lesson on its card; what else `make_pictures` makes is on it once
the README shows it there. On the other pages of the site are the figures of the
notebooks as they are.
"""

import io
from pathlib import Path

from PIL import Image

from .lessons import FOLDER, figures, find_lessons, read_notebooks

HEIGHT = 400  # of the picture on top, in pixels
ON_TOP = ["4.10", "5.8"]
THUMBNAIL = (320, 180)  # at most


def first_figure(lesson):
    """Return the first figure of a lesson: its picture as PNG, and its caption."""
    shown, caption = next(iter(figures(lesson).values()))
    return shown[0], caption


def make_pictures(lessons):
    """Return the pictures by name: one of each lesson, and "road", for the top.

    Parameters
    ----------
    lessons : dict
        Executed notebooks by name, as `read_notebooks` returns them.

    Returns
    -------
    dict of PIL.Image.Image
    """
    found, made = {}, {}
    for name, lesson in lessons.items():
        own = {
            number: opened(shown[0]) for number, (shown, _) in figures(lesson).items()
        }
        made[name] = opened(first_figure(lesson)[0])
        made[name].thumbnail(THUMBNAIL)
        found |= own
    parts = [found[number] for number in ON_TOP]
    parts = [p.resize((p.width * HEIGHT // p.height, HEIGHT)) for p in parts]
    road = Image.new("RGB", (sum(part.width for part in parts), HEIGHT), "white")
    for i, part in enumerate(parts):
        road.paste(part, (sum(before.width for before in parts[:i]), 0))
    return made | {"road": road}


def opened(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def main(folder=FOLDER / "pictures"):
    Path(folder).mkdir(exist_ok=True)
    for name, picture in make_pictures(read_notebooks(find_lessons())).items():
        picture.save(Path(folder, f"{name}.png"), optimize=True)


if __name__ == "__main__":
    main()
