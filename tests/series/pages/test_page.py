"""Pages are readable by all, and ask nothing of a network."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medsr_lib.series import compare, report, sweep
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.pages import index, page
from medsr_lib.series.report import Result, Run, Status

VOID = {"meta", "img", "br", "hr", "link", "input", "col"}  # have no end
TABLE = '<table border="1"><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>0</th><td>1'
ESTIMATE = {"value": 0.1, "low": 0.05, "high": 0.2, "p": 0.01, "patients": 20}
VERDICT = {
    "method": "ESPCN",
    "metric": "ssim",
    "words": "harms",
    "margin": 0.01,
    "reason": "Worse.",
}


class Page(HTMLParser):
    """The elements of a page with their attributes, and whether all that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, by name."""
    out = tmp_path_factory.mktemp("run")
    folder = out / "04_regional_ssim"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    values = {
        "slices": 40,
        "patients": 20,
        "primary": ESTIMATE,
        "contrasts": {"ESPCN, tumour": ESTIMATE},
        "verdicts": [VERDICT | ESTIMATE],
        "table": [{"method": "bicubic", "psnr": 30.0, "psnr_sd": 2.0, "slices": 40}],
    }
    report.record(folder, values, {"a.png": "Gain over bicubic"})
    cells = [
        new_markdown_cell("# 04 · Title\n\n**Is it so?**\n\n## First\n\n### Below"),
        new_code_cell('fig.savefig(out / "a.png")\nfig', outputs=[picture(folder), table()]),
        new_markdown_cell("## Second $x$"),
        new_code_cell("# Draw it again\nfig", outputs=[picture(folder)]),
    ]
    notebook = Notebook(out / "04_regional_ssim.ipynb", new_notebook(cells=cells))
    record = report.load_record(folder)
    html = page.write(notebook, out / "04_regional_ssim.html", record=record)
    result = Result(
        "04_regional_ssim",
        Status.DONE,
        title="04 · Title",
        question="Is it so?",
        seconds=3.0,
        parameters={"data_dir": "/x/brain", "scale": 4},
        page=html,
        record=record,
    )
    run = Run(out, [result])
    report.write_run(run)
    two = compare.write(compare.compare(out, out, seed=0), out / "two.html")
    point = sweep.Combination({"scale": 2}, out / "scale=2", Status.DONE, (result,))
    return {
        "notebook": html.read_text(encoding="utf-8"),
        "index": index.write(run).read_text(encoding="utf-8"),
        "compare": two.read_text(encoding="utf-8"),
        "sweep": sweep.tables([point], out / "grid").read_text(encoding="utf-8"),
    }


def picture(folder):
    data = base64.b64encode((folder / "a.png").read_bytes()).decode()
    return new_output("display_data", {"image/png": data, "text/plain": "<Figure>"})


def table():
    return new_output("display_data", {"text/html": TABLE + "</td></tr></tbody></table>"})


KINDS = ("notebook", "index", "compare", "sweep")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_from_elsewhere(pages, kind):
    found = Page(pages[kind])
    assert not found.open
    loaded = [
        a[k] for _, a in found.elements for k in ("src", "srcset", "poster", "data") if k in a
    ]
    loaded += [a.get("href", "") for a in found.all("link", "base", "image", "use")]
    assert not [address for address in loaded if re.match(r"\s*(\w+:)?//|https?:", address)]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp", pages[kind])
    policy = next(a for a in found.all("meta") if a.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("kind", KINDS)
def test_language_landmarks_headings_and_names(pages, kind):
    found = Page(pages[kind])
    assert found.all("html") == [{"lang": "en"}]
    assert all(len(found.all(tag)) == 1 for tag in ("h1", "main", "footer"))
    assert all("aria-label" in nav for nav in found.all("nav"))
    assert found.all("a")[0] == {"class": "skip", "href": "#main"}
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert len(ids) == len(set(ids))
    inside = [a["href"][1:] for a in found.all("a") if a.get("href", "").startswith("#")]
    assert set(inside) <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_and_pictures_are_described(pages, kind):
    found = Page(pages[kind])
    assert found.all("th")
    assert all(th.get("scope") in ("col", "row") for th in found.all("th"))
    assert all(image["alt"] for image in found.all("img"))
    frames = [a for a in found.all("div") if a.get("role") == "region"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in frames)


def test_pictures_of_a_notebook_are_called_by_caption_or_heading(pages):
    alts = [image["alt"] for image in Page(pages["notebook"]).all("img")]
    assert alts == ["Gain over bicubic", "Figure: Second x"]
    shown = (
        r"<figcaption>Gain over bicubic \(this notebook: 40 slices of 20 patients\)</figcaption>"
    )
    assert re.search(shown, re.sub("</?span[^>]*>", "", pages["notebook"]))


def test_code_is_folded_under_its_purpose(pages):
    folded = re.findall(r"<summary>(.*?)</summary>", pages["notebook"])
    purposes = [re.sub("<.*?>", "", of) for of in folded if "Code" in of]
    assert purposes == ["Code 1 Below", "Code 2 Draw it again"]


def test_charts_may_be_inverted_and_pictures_may_not():
    def png(mode, colour):
        file = io.BytesIO()
        Image.new(mode, (9, 9), colour).save(file, "PNG")
        return file.getvalue()

    chart = png("RGBA", (255, 255, 255, 0))
    assert page.kind(chart) == page.kind(base64.b64encode(chart).decode()) == "chart"
    for other in (png("RGBA", "white"), png("RGB", "white"), png("L", 0), chart[:43], b"", "no"):
        assert page.kind(other) == "picture"
    css = (page.TEMPLATES / "page.css").read_text(encoding="utf-8")
    assert not re.search(r"(img|picture)[^{}]*\{[^}]*invert", css)


def test_the_n_under_a_figure_is_its_own(tmp_path):
    (tmp_path / "a").mkdir()
    about = PngInfo()
    about.add_text("Comment", "1\u202f030 images of 16 patients.")
    Image.new("L", (8, 8)).save(tmp_path / "a" / "own.png", pnginfo=about)
    captions = {"own.png": "Gain", "other.png": "Gain", "said.png": "PSNR of 9 test slices"}
    record = {"figures": [{"file": f, "caption": c} for f, c in captions.items()]}
    figures = page.figures(tmp_path / "a", record | {"values": {"slices": 32, "patients": 16}})
    assert [figure["n"] for figure in figures] == [
        "n: 1\u202f030 images of 16 patients",
        "this notebook: 32 slices of 16 patients",
        "",
    ]


def test_a_viewer_is_live_beside_the_picture_that_stands_for_it(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    shown = picture(tmp_path)
    shown.data["application/vnd.medsr.viewer"] = "<div>the viewer</div>"
    cells = [new_markdown_cell("# Title"), new_code_cell("x", outputs=[shown])]
    notebook = Notebook(tmp_path / "a.ipynb", new_notebook(cells=cells))
    html = page.write(notebook, tmp_path / "a.html").read_text(encoding="utf-8")
    wanted = (
        r'<div class="live">\s*<figure><img [^>]*>.*?</figure>\s*<div>the viewer</div>\s*</div>'
    )
    assert re.search(wanted, html, re.DOTALL)


def test_a_notebook_has_its_contents(pages):
    items = re.findall(r'<li class="(level\d)"><a href="#([^"]+)">(.*?)</a>', pages["notebook"])
    assert [(level, anchor) for level, anchor, _ in items][:2] == [
        ("level2", "First"),
        ("level3", "Below"),
    ]


def test_the_index_answers_before_it_shows(pages):
    text = pages["index"]
    order = [
        "brain",
        "By SSIM, worse",
        "0.10",
        "Gain over bicubic",
        "harms",
        "Is it so?",
        "Method<",
    ]
    places = [text.index("<h1")]
    for part in order:
        places.append(text.index(f">{part}", places[-1]))
    assert "+0.10 (+0.05 to +0.20)" in text
    assert "(this notebook: 40 slices of 20 patients)" in text


def luminance(colour):
    digits = "".join(c * 2 for c in colour) if len(colour) == 3 else colour
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palette(look):
    css = (page.TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): #([0-9a-f]+);", light))
    return colours | dict(re.findall(r"--(\w+): #([0-9a-f]+);", dark if look == "dark" else ""))


@pytest.mark.parametrize("look", ["light", "dark"])
def test_texts_stand_out_from_their_ground(look):
    colours = palette(look)
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "link", "good", "bad", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize(("look", "style"), [("light", "default"), ("dark", "github-dark")])
def test_code_stands_out_from_its_ground(look, style):
    from pygments.formatters import HtmlFormatter

    rules = HtmlFormatter(style=style).get_style_defs(".highlight")
    used = r"\.(?:c1|k|kc|kn|nb|nf|nn|s1|s2|sa|si|mi|mf|o|ow|n|p) \{ color: #(\w+)"
    for colour in re.findall(used, rules, flags=re.I):
        assert contrast(colour.lower(), palette(look)["panel"]) >= 4.5, colour


def test_a_table_of_pandas_has_one_row_of_headings():
    table = pd.DataFrame({"a": [-0.5], "b": ["1 [−1, +2]"]}, index=pd.Index(["x"], name="way"))
    html = " ".join(page.accessible(table.to_html()).split())
    head, body = html.split("</thead>")
    assert re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", head) == ["way", "a", "b"]
    assert head.count("<tr") == 1
    assert "<td>−0.5</td>" in body
    assert '<span class="n">[−1, +2]</span>' in body
    two = table.set_index("a", append=True)
    html = page.accessible(two.to_html())
    assert re.findall(r'<th scope="col">(.*?)</th>', html) == ["way", "a", "b"]
