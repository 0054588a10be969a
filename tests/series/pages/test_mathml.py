import pytest

from medsr_lib.series.pages.mathml import mathml, to_html

SSIM = r"""$$
\mathrm{SSIM}(x, y) = \frac{(2\mu_x\mu_y + C_1)(2\sigma_{xy} + C_2)}
                           {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}
$$"""


def test_a_fraction_over_several_lines_is_one_equation():
    page = to_html(SSIM)
    assert page.count("<math") == page.count("<mfrac>") == 1
    assert 'display="block"' in page
    assert page.count("<msubsup>") == 4
    assert "$" not in page
    assert "<em>" not in page
    assert "xmlns" not in page


def test_underscores_and_stars_in_an_equation_are_not_emphasis():
    page = to_html(r"With $a_i * b_j$ and $c_i * d_j$ it is *so*.")
    assert page.count("<msub>") == 4
    assert page.count("<em>") == 1


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"\sum_{i=1}^{N} x_i", "<munderover><mo>∑</mo>"),
        (r"\mathcal{L}_\text{adv}", "<mtext>adv</mtext>"),
        (r"\text{if PSNR < 30}", "<mtext>if\N{NO-BREAK SPACE}PSNR"),
        (r"p < 0.05", "<mo>&lt;</mo>"),
        (r"\hat{x} = \arg\min_x f", "arg"),
        (r"\lVert x \rVert_2", "‖"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", '<mtable class="aligned"'),
        (r"\begin{equation} a = b \end{equation}", "<mo>=</mo>"),
        (r"\left( \tfrac12 \right)^2", 'fence="true"'),
    ],
)
def test_equations_of_the_series(latex, part):
    page = mathml(latex, display=True)
    assert part in page.replace('displaystyle="true" ', "")
    assert "&amp;" not in page
    assert "\\" not in page


@pytest.mark.parametrize("latex", ["x_", "{", r"\unknown{x}", ""])
def test_what_cannot_be_read_is_shown_as_it_is(latex):
    assert mathml(latex, display=False) == f'<code class="latex">{latex}</code>'


def test_an_environment_needs_no_dollars():
    page = to_html("Text\n\n\\begin{align}\na &= b_1 \\\\\nc &= d_2\n\\end{align}\n")
    assert page.count("<mtr>") == 2


def test_prices_and_code_keep_their_dollars():
    page = to_html("It costs $5 and $6, `echo $HOME_DIR $x$`.\n\n```bash\necho $x_1$\n```\n")
    assert "<math" not in page
    assert "$5 and $6" in page
    assert "<code>echo $HOME_DIR $x$</code>" in page


def test_equations_in_headings_and_tables():
    page = to_html("# Loss $x_1$\n\n| $a_1$ | b |\n|---|---|\n| $c_2$ | 1 |\n")
    assert page.count("<math") == 3
    assert "ns0" not in page


def test_links_between_notebooks_lead_to_pages():
    page = to_html("[a](02_espcn.ipynb#x) [b](https://doi.org/10.1/x.ipynb) [c](data.csv)")
    assert 'href="02_espcn.html#x"' in page
    assert 'href="https://doi.org/10.1/x.ipynb"' in page
    assert 'href="data.csv"' in page


def test_pasted_images_are_embedded():
    page = to_html("![x](attachment:a.png)", {"a.png": {"image/png": "QUJD"}})
    assert 'src="data:image/png;base64,QUJD"' in page
