import subprocess
import sys

import pytest

from safefed.errors import ConfigError
from safefed.filters import load_filter


def test_an_unknown_filter_names_the_known_ones_and_the_closest():
    with pytest.raises(
        ConfigError,
        match=r"'linaer'; did you mean 'linear'\? choose from classifier, detoxify, embedding, guard, linear, profile",
    ):
        load_filter("linaer")


def test_a_filter_is_loaded_once_per_process():
    assert load_filter("linear") is load_filter("linear")
    assert load_filter("linear", threshold=0.4) is not load_filter("linear")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        load_filter("linear", threshold=threshold)


def test_naming_no_filter_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'sklearn', 'scipy', 'numpy', 'detoxify'}"
    code = f"import sys, safefed.filters; print(sorted({heavy} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
