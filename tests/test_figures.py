from safefed.figures import svg


def test_a_figure_is_one_svg_element_with_text_and_repeats_exactly():
    def draw(axes):
        axes.plot([0, 1], [0, 1])
        axes.set_xlabel("recall")

    first = svg(draw)

    assert first.startswith("<svg")
    assert first.endswith("</svg>")
    assert ">recall<" in first
    assert first == svg(draw)
