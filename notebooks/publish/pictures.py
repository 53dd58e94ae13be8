"""Make the pictures of the README from the figures of the executed lessons.

`make outputs` calls it; a test demands that the pictures are those of the lessons.
"""

import io
from pathlib import Path

from PIL import Image

from .lessons import FOLDER, figures, find_lessons, read_notebooks

HEIGHT = 400  # of the picture on top, in pixels
ON_TOP = ["4.14", "4.15", "5.13"]
THUMBNAIL = (320, 180)  # at most


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
        made[name] = next(iter(own.values())).copy()
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
