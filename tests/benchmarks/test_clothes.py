"""The table of clothes: measured once, and shown beside what needs no training."""

import json

from benchmarks import clothes

FIGURES = dict.fromkeys(clothes.FIGURES, 0.5)


def test_a_system_is_measured_once_and_shown_after_the_baselines(monkeypatch, tmp_path, capsys):
    asked = []

    def figures(name, data, seeds):
        asked.append((name, data, seeds))
        return {f"fashion_{figure}": 0.25 for figure in clothes.FIGURES}

    monkeypatch.setattr(clothes, "FOLDER", tmp_path)
    monkeypatch.setattr(clothes, "image_figures", figures)
    assert clothes.table() == "nothing was measured yet"
    clothes.write("baselines", {"real": FIGURES})
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["clothes", "--system", "cfg"])
        clothes.main()
    assert asked == [("cfg", "fashion", (0,))]
    document = json.loads((tmp_path / "cfg.json").read_text())
    assert document["command"] == "python -m benchmarks.clothes --system cfg"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["samples", "real", "cfg"]


def test_every_system_of_pictures_is_there_and_no_policy():
    assert {"ddpm", "cfg", "ncsn", "ebm", "consistency"} <= set(clothes.NAMES)
    assert not {"bc", "goal-bc", "diffusion-policy", "classifier"} & set(clothes.NAMES)
