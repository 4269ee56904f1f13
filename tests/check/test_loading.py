"""A derivation file is run once, and what is wrong with it is said where it is."""

import numpy as np
import pytest

from refgen.check import DerivationError, check_grad, load_derivation
from refgen.check.loading import stub

GOOD = """
import numpy as np
params = {"layer": {"w": np.ones((2, 3))}}
def loss(p): return np.sum(p["layer"]["w"] ** 2)
def grads(p): return {"layer": {"w": 2 * p["layer"]["w"]}}
"""


def write(folder, text):
    path = folder / "mine.py"
    path.write_text(text)
    return path


def refusal(folder, text):
    with pytest.raises(DerivationError) as caught:
        load_derivation(write(folder, text))
    assert "mine.py" in str(caught.value)
    return str(caught.value)


def test_the_stub_is_right_and_a_slip_in_it_is_found(tmp_path):
    text = stub("mine")
    d = load_derivation(write(tmp_path, text))
    assert check_grad(d.loss, d.grads, d.params, d.sizes).ok
    assert "refgen check mine.py" in text
    slip = text.replace(" + DECAY * params", " + 0 * params")
    assert slip != text
    d = load_derivation(write(tmp_path, slip))
    report = check_grad(d.loss, d.grads, d.params, d.sizes)
    assert [p.verdict for p in report.parameters] == ["agrees", "term"]
    assert "decay has weight 0" in report.parameters[1].causes[0]
    forgotten = text.replace('params["b"] - y) / N', 'params["b"] - y)')
    d = load_derivation(write(tmp_path, forgotten))
    report = check_grad(d.loss, d.grads, d.params, d.sizes)
    assert "= N" in report.parameters[0].causes[0]
    assert "error has weight 7 = N" in report.parameters[1].causes[0]


def test_a_file_may_import_its_neighbour(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("scale = 2.0\n")
    d = load_derivation(write(tmp_path, GOOD + "from neighbour_of_mine import scale\n"))
    assert check_grad(d.loss, d.grads, d.params, d.sizes).ok


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(DerivationError, match="does not exist; `refgen check --new NAME`"):
        load_derivation(tmp_path / "nothing.py")
    with pytest.raises(DerivationError, match="is a folder"):
        load_derivation(tmp_path)


def test_a_syntax_error_comes_with_its_line(tmp_path):
    message = refusal(tmp_path, "x = 1\ndef loss(p) return 0\n")
    assert "line 2: syntax error" in message
    assert "def loss(p) return 0" in message


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DerivationError, match=r"mine\.py: syntax error: .*null bytes"):
        load_derivation(tmp_path / "mine.py")


def test_a_file_that_fails_shows_its_own_last_line(tmp_path):
    message = refusal(tmp_path, "import numpy as np\nx = np.ones(3) @ np.ones(4)\n")
    assert "line 2" in message
    assert "x = np.ones(3) @ np.ones(4)" in message
    assert "ValueError: matmul" in message
    assert "SystemExit: 3" in refusal(tmp_path, "raise SystemExit(3)")


def test_a_loss_or_gradient_that_fails_shows_its_own_last_line(tmp_path):
    broken = GOOD.replace('np.sum(p["layer"]["w"] ** 2)', 'np.reshape(p["layer"]["w"], 7)')
    message = refusal(tmp_path, broken)
    assert "loss(params) failed" in message
    assert "line 4, in loss" in message
    assert "ValueError: cannot reshape" in message
    broken = GOOD.replace('2 * p["layer"]["w"]', 'p["w"]')
    message = refusal(tmp_path, broken)
    assert "grads(params) failed" in message
    assert "line 5, in grads" in message
    assert "KeyError: 'w'" in message


def test_missing_names_are_listed_with_the_kinds_there_are(tmp_path):
    message = refusal(tmp_path, "params = {}\n")
    assert "does not define loss, grads" in message
    assert "forward, backward  (not checked yet)" in message


@pytest.mark.parametrize(
    "names",
    ["inputs forward backward", "f inverse", "log_density score", "lhs rhs"],
)
def test_other_kinds_are_recognised_and_answered(tmp_path, names):
    message = refusal(tmp_path, "".join(f"{n} = 1\n" for n in names.split()))
    assert f"defines {', '.join(names.split())}" in message
    assert "This kind is not checked yet" in message


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ('{"layer": {"w": [[1.0, 2.0]]}}', 'params["layer/w"] is a list, not a float array'),
        ('{"layer": {"w": np.ones((2, 3), int)}}', 'params["layer/w"] is an array of int64'),
        ('{"layer": {"w": None}}', 'params["layer/w"] is None'),
        ('{"layer": {"w": np.array([np.nan])}}', 'params["layer/w"] has entries that are NaN'),
        ("{}", "params is empty"),
        ("{1: np.ones(2), 'a': np.ones(2)}", "every key of params must be a string"),
        ("[np.ones(2)]", "params is a list, not a float array"),
    ],
)
def test_a_leaf_that_is_no_float_array_is_named(tmp_path, params, says):
    text = GOOD.replace('{"layer": {"w": np.ones((2, 3))}}', params)
    assert says in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("None", "loss(params) is None, not a float"),
        ("p['layer']['w']", "loss(params) has shape (2, 3), not one number"),
        ("{'kl': 'big'}", 'loss(params)["kl"] is a str, not a float'),
        ("{'kl': np.ones(2), 'recon': 1.0}", 'loss(params)["kl"] has shape (2,)'),
        ("{}", "empty dict"),
        ("[[1], [1, 2]]", "loss(params) is a list, not a float"),
    ],
)
def test_a_loss_that_is_no_float_is_named(tmp_path, value, says):
    assert says in refusal(tmp_path, GOOD.replace('np.sum(p["layer"]["w"] ** 2)', value))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("loss = 3.0", "loss is a float; make it a function"),
        ("def grads(p): return None", "grads(params) returned None; return a dict"),
        ("sizes = [1]", "sizes is a list; make it a dict"),
        ("sizes = {'batch': 'five'}", "sizes[\"batch\"] is 'five'; give a finite number"),
        ("sizes = {'batch': 0}", 'sizes["batch"] is 0; give a finite number'),
    ],
)
def test_other_definitions_are_checked(tmp_path, line, says):
    assert says in refusal(tmp_path, GOOD + line + "\n")


def test_a_loss_that_is_not_finite_is_left_to_the_doctor(tmp_path):
    text = GOOD.replace('np.sum(p["layer"]["w"] ** 2)', 'np.log(np.sum(p["layer"]["w"]) - 6)')
    d = load_derivation(write(tmp_path, text))
    with np.errstate(all="ignore"):
        (p,) = check_grad(d.loss, d.grads, d.params).parameters
    assert "loss is -inf" in p.causes[0]
