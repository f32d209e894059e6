"""Charts as pictures and as SVG."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np

from querydiff_core.utils.plots import add_hint, clear_up, new_figure, picture, svg


def chart():
    figure = new_figure(600, 401)
    axes = figure.add_subplot()
    clear_up(axes)
    (bar,) = axes.bar(["$x & <y>$"], [3], color="#ff0000")
    axes.set_ylim(0, 6)
    add_hint(bar, 'a "hint" & more')
    return figure


def test_a_picture_has_its_size_and_its_colours():
    image = picture(chart())
    assert (image.shape, image.dtype) == ((401, 600, 3), np.uint8)
    rows, columns = np.nonzero((image == (255, 0, 0)).all(-1))
    assert 0.4 * 401 < np.ptp(rows) < 0.5 * 401, "half of the axis, which text leaves some room"
    assert np.ptp(columns) > 0.7 * 600
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_an_svg_keeps_text_title_and_hints():
    text = svg(chart(), "a < b")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root[0].text == "a < b"
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "$x & <y>$" in texts, "dollar signs of a name are no formula"
    hints = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert hints == ["a < b", 'a "hint" & more']
    assert "#ff0000" in text


def test_two_figures_on_one_page_share_no_id_but_of_equal_things():
    first, second = (dict(re.findall(r'<(?:path|clipPath) id="(.+?)"(.*?)/>', svg(chart(), t), re.S)) for t in "ab")
    assert first == second
    assert not re.search(r' id="\w+_1"', svg(chart(), "a"))


def test_the_same_chart_gives_the_same_bytes_in_another_process():
    script = f"from runpy import run_path; here = run_path({__file__!r}); print(here['svg'](here['chart'](), 'a'))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == svg(chart(), "a").strip()
    assert (picture(chart()) == picture(chart())).all()


def test_drawing_leaves_pyplot_alone():
    script = f"from runpy import run_path; here = run_path({__file__!r}); here['picture'](here['chart']()); import sys"
    script += "; print('matplotlib.pyplot' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "False"
