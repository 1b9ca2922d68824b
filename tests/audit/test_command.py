"""`python -m fragility audit`: bad input in one sentence, exit codes, and the files it writes."""

import csv
import json
import os
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
import zipfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

import fragility.audit
from fragility import command
from fragility.audit import compare
from fragility.audit.command import exit_code
from fragility.audit.report import Report
from fragility.audit.verdicts import Verdict
from tests.audit.small import network, run

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((Path(fragility.audit.__file__).parent / "schema.json").read_text())

NETWORKS = '''
import sys
import torch
from torch import nn

from tests.audit.small import network

made = network()
number = 3


def make():
    return network()


def two(width, depth):
    return network()


def images(x):
    return made(x)


def other():
    return network(classes=3)


def colour():
    return network(channels=3)


def softmax():
    return nn.Sequential(*network(), nn.Softmax(1))


def dropout():
    return lambda x: nn.functional.dropout(made(x))


def many():
    return lambda x: (made(x), made(x))


def fails():
    raise RuntimeError("The weights\\nare not here.")


def leaves():
    sys.exit("Usage: train me first.")


def nothing():
    return None


class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()


def edges(model, x, target):
    return x - x.mean((2, 3), keepdim=True)


def broken(model, x, target):
    raise RuntimeError("No map today.")
'''


def picture(file, values):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with code, pictures and files of many kinds; tests do not change it."""
    top, draw = tmp_path_factory.mktemp("audited"), np.random.default_rng(0)
    noise = lambda *shape: draw.integers(0, 256, shape, dtype=np.uint8)
    (top / "net.py").write_text(NETWORKS)
    (top / "syntax.py").write_text("def make(:\n")
    (top / "lacks.py").write_text("import a_module_that_is_not_there\n")
    (top / "exits.py").write_text("import sys\nsys.exit(0)\n")
    for number in range(8):
        picture(top / "pictures" / f"{number}.png", noise(12, 12))
        picture(top / "tree" / f"class {number % 2}" / f"{number}.png", noise(12, 12))
        picture(top / "many classes" / f"class {number}" / "0.png", noise(12, 12))
        picture(top / "sizes" / f"{number}.png", noise(12, 12 + number))
    (top / "empty").mkdir()
    (top / "unreadable").mkdir()
    for number in range(4):
        (top / "unreadable" / f"{number}.jpg").write_bytes(b"not a picture")
    picture(top / "single" / "0.png", noise(12, 12))
    np.savez(top / "images.npz", images=noise(8, 12, 12))
    np.savez(top / "floats.npz", images=np.full((8, 12, 12), 300.0))
    np.savez(top / "labels.npz", images=noise(8, 12, 12), labels=np.arange(3))
    np.savez(top / "lacks.npz", pictures=noise(8, 12, 12))
    np.savez(top / "pickled.npz", images=np.array([{"a": 1}] * 8, dtype=object))
    (top / "torn.npz").write_bytes((top / "images.npz").read_bytes()[:200])
    (top / "text.txt").write_text("text")
    picture(top / "linked" / "0.png", noise(12, 12))
    os.symlink(top / "pictures" / "1.png", top / "linked" / "1.png")
    torch.save(network(), top / "pickle.pt")
    torch.save(network().state_dict(), top / "weights.pth")
    (top / "torn.pt").write_bytes(b"PK\x03\x04 torn")
    with zipfile.ZipFile(top / "other.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    (top / "torn.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    from safetensors.torch import save_file
    save_file({"other": torch.zeros(2)}, top / "other.safetensors")
    report = run(name=f"{top / 'net.py'}:make", methods="gradient", criteria=["noise"])
    report.to_json(top / "old.json")
    old = json.loads((top / "old.json").read_text())
    variants = {"model": {**old, "subject": {**old["subject"], "model": "alexnet"}},
                "classes": {**old, "subject": {**old["subject"], "classes": 7}},
                "size": {**old, "subject": {**old["subject"], "shape": [1, 28, 28]}},
                "schema": {**old, "schema": "fragility-audit-0"}, "list": [old],
                "half": {"schema": old["schema"], "subject": old["subject"]},
                "hollow": {**old, "verdicts": [{}]}, "words": {**old, "verdicts": "pass"}}
    for name, value in variants.items():
        (top / f"{name}.json").write_text(json.dumps(value))
    (top / "torn.json").write_text(json.dumps(old)[:500])
    return top


@pytest.fixture
def page(monkeypatch):
    """A page that is written without looking at the report."""
    module = types.ModuleType("fragility.audit.page")
    module.render = lambda report: f"<!doctype html><title>{len(report.verdicts)}</title>"
    monkeypatch.setitem(sys.modules, "fragility.audit.page", module)


def arguments(place, out, *more, model="net.py:make", data="pictures", methods="gradient", criteria="noise"):
    found = ["audit", f"{place / model}" if ".py:" in model or model.endswith(("pt", "pth")) else model, "--data",
             str(place / data), "--out", str(out), "--quiet", *more]
    for option, value in (("--methods", methods), ("--criteria", criteria)):
        found += [option, value] if value is not None else []
    return found


def files(folder):
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*"))


# Name -> what is given otherwise, and words of the sentence.
BAD = {
    # The model
    "a file that does not import": ({"model": "lacks.py:make"}, "cannot be imported: ModuleNotFoundError"),
    "a file with a mistake": ({"model": "syntax.py:make"}, "cannot be imported: SyntaxError"),
    "a file that exits": ({"model": "exits.py:make"}, "cannot be imported: SystemExit"),
    "a file that is not there": ({"model": "nowhere.py:make"}, "does not exist"),
    "a module that is not there": ({"model": "nowhere.models:make"}, "cannot be imported"),
    "a name that the file lacks": ({"model": "net.py:mak"}, "has no 'mak'; it has: "),
    "no name": ({"model": "net.py:"}, "names nothing"),
    "a number": ({"model": "net.py:number"}, "is a int"),
    "arguments": ({"model": "net.py:two"}, "needs the arguments width, depth"),
    "a class with arguments": ({"model": "net.py:Needs"}, "needs the arguments width"),
    "a function that fails": ({"model": "net.py:fails"}, "The weights are not here."),
    "a function that exits": ({"model": "net.py:leaves"}, "SystemExit"),
    "a function that gives nothing": ({"model": "net.py:nothing"}, "returned a NoneType"),
    "an unknown network": ({"model": "resnet51"}, "'resnet51' is unknown"),
    "a pickled module": ({"model": "pickle.pt"}, "Pickled modules and bare weights are not loaded"),
    "pickled weights": ({"model": "weights.pth"}, "Pickled modules and bare weights are not loaded"),
    "a torn archive": ({"model": "torn.pt"}, "is not a TorchScript file"),
    "another archive": ({"model": "other.pt"}, "is not a TorchScript file"),
    "a script that is not there": ({"model": "nowhere.pt"}, "does not exist"),
    "weights of another network": (["--weights", "{place}/other.safetensors"], "do not fit the model"),
    "torn weights": (["--weights", "{place}/torn.safetensors"], "do not fit the model"),
    "weights that are not there": (["--weights", "{place}/none.safetensors"], "does not exist"),
    "weights of another kind": (["--weights", "{place}/weights.pth"], "read from a .safetensors file"),
    "softmax": ({"model": "net.py:softmax"}, "returns probabilities"),
    "dropout": ({"model": "net.py:dropout"}, "training mode"),
    "two outputs": ({"model": "net.py:many"}, "must return logits"),
    "another number of channels": ({"model": "net.py:colour"}, "does not take images of the shape"),
    # The data
    "a folder that is not there": ({"data": "nowhere"}, "does not exist"),
    "a folder without images": ({"data": "empty"}, "holds no images"),
    "a file of text": ({"data": "text.txt"}, "is neither"),
    "unreadable images": ({"data": "unreadable"}, "cannot be read"),
    "several sizes": ({"data": "sizes"}, "differ in size"),
    "one image": ({"data": "single"}, "at least two images"),
    "a link out of the folder": ({"data": "linked"}, "leads out of the folder"),
    "floats out of range": ({"data": "floats.npz"}, "must be uint8"),
    "labels that do not fit": ({"data": "labels.npz"}, "one for each image"),
    "more classes than outputs": ({"data": "many classes"}, "The labels span 0 to 7, but the model has the classes 0"),
    "no array of images": ({"data": "lacks.npz"}, "lacks images"),
    "a pickled array": ({"data": "pickled.npz"}, "pickles are never read"),
    "a torn file": ({"data": "torn.npz"}, "not a whole .npz archive"),
    # Numbers
    "more images than there are": (["-n", "9"], "more images than the data hold, 8"),
    "no images": (["-n", "0"], "-n must be a whole number of at least 2"),
    "one image asked": (["-n", "1"], "-n must be a whole number of at least 2"),
    "fewer than none": (["-n", "-3"], "-n must be a whole number of at least 2"),
    "half an image": (["-n", "2.5"], "'2.5' is not a whole number"),
    "a size of zero": (["--size", "0"], "size must be"),
    "a size in words": (["--size", "large"], "'large' is not a whole number"),
    "epsilon of zero": (["--epsilon", "0"], "epsilon must be a number above 0"),
    "epsilon of grey levels": (["--epsilon", "8"], "epsilon must be a number above 0 and at most 1"),
    "epsilon by zero": (["--epsilon", "8/0"], "'8/0' is not a number"),
    "epsilon not a number": (["--epsilon", "nan"], "epsilon must be"),
    "k of all": (["--k", "100%"], "k must be"),
    "k in words": (["--k", "two"], "'two' is not a share"),
    "no steps": (["--steps", "0"], "steps must be"),
    "one attacked": (["--attacked", "1"], "attacked must be"),
    "a seed below zero": (["--seed", "-1"], "seed must be"),
    "a mean alone": (["--mean", "0.5"], "both mean and std"),
    "a mean of words": (["--mean", "grey", "--std", "1"], "'grey' is not numbers with commas"),
    "a mean of three channels": (["--mean", "0,0,0", "--std", "1,1,1"], "one finite number a channel, 1 of them"),
    "a std of zero": (["--mean", "0", "--std", "0"], "above zero"),
    "a mean that is infinite": (["--mean", "inf", "--std", "1"], "one finite number a channel"),
    "a budget in days": (["--budget", "1d"], "'1d' is not a time"),
    "a budget of zero": (["--budget", "0"], "budget must be a number above 0"),
    "a budget below zero": (["--budget=-5m"], "'-5m' is not a time"),
    "a budget too small": (["--budget", "0.00001s"], "is too small"),
    "a memory of words": (["--max-memory", "lots"], "'lots' is not a number of bytes"),
    "a memory too small": (["--max-memory", "1M"], "MB of memory do not suffice"),
    "a margin without a number": (["--margin", "noise"], "must be CRITERION=NUMBER"),
    "a margin of words": (["--margin", "noise=high"], "must be CRITERION=NUMBER"),
    "a margin that is no number": (["--margin", "noise=nan"], "margin of noise must be a number"),
    "a margin of an unknown criterion": (["--margin", "nose=1"], "Margin of 'nose' is unknown"),
    # Names
    "an unknown method": ({"methods": "gradient,magic"}, "Method 'magic' is unknown; choose one of"),
    "no method": ({"methods": ","}, "--methods names none"),
    "a method twice": ({"methods": "gradient,gradient"}, "names gradient twice"),
    "controls alone": ({"methods": "sobel,random"}, "beside the controls"),
    "a method of a file that lacks it": ({"methods": "{place}/net.py:nothing_there"}, "has no 'nothing_there'"),
    "a method that is no function": ({"methods": "{place}/net.py:number"}, "is no function"),
    "a method that fails": ({"methods": "{place}/net.py:broken"}, "No map today."),
    "an unknown criterion": ({"criteria": "nose"}, "Criterion 'nose' is unknown; choose one of"),
    "no criterion": ({"criteria": ""}, "At least one criterion"),
    "a criterion twice": ({"criteria": "noise,noise"}, "given twice"),
    "an unknown device": (["--device", "abacus"], "The device 'abacus' is not available"),
    "a device without memory": (["--device", "meta"], "The device 'meta' is not available"),
    "a guard of an unknown criterion": (["--fail-on", "nose"], "--fail-on: the criterion 'nose' is unknown"),
    "a guard of a criterion not asked for": (["--fail-on", "removal"], "--fail-on: the criterion 'removal' is unknown"),
    "a guard of an unknown method": (["--fail-on", "magic:noise"], "--fail-on: the method 'magic' is unknown"),
    "a guard that cannot fail": (["--fail-on", "cost", "--criteria", "noise,cost"], "--fail-on: the criterion 'cost'"),
    # Files
    "a baseline of another model": (["--baseline", "{place}/model.json"], "of another model: alexnet there"),
    "a baseline of other classes": (["--baseline", "{place}/classes.json"], "another number of classes: 7 there, 4"),
    "a baseline of another size": (["--baseline", "{place}/size.json"], "another size of images"),
    "a baseline of another schema": (["--baseline", "{place}/schema.json"], "its schema is 'fragility-audit-0'"),
    "a baseline that is a list": (["--baseline", "{place}/list.json"], "its schema is 'list'"),
    "half a baseline": (["--baseline", "{place}/half.json"], "is damaged"),
    "a hollow baseline": (["--baseline", "{place}/hollow.json"], "is damaged"),
    "a baseline of words": (["--baseline", "{place}/words.json"], "is damaged"),
    "a torn baseline": (["--baseline", "{place}/torn.json"], "is not JSON"),
    "a baseline of pixels": (["--baseline", "{place}/pictures/0.png"], "is not JSON"),
    "a baseline that is not there": (["--baseline", "{place}/nowhere.json"], "cannot be read"),
    "a baseline that is a folder": (["--baseline", "{place}"], "cannot be read"),
    "an output that is a file": (["--out", "{place}/text.txt"], "cannot be written"),
    "an output below a file": (["--out", "{place}/text.txt/audit"], "cannot be written"),
    # The command line
    "an unknown option": (["--fast"], "unrecognized arguments: --fast"),
    "an option without its value": (["--k"], "expected one argument"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(place, tmp_path, capsys, monkeypatch, page, name):
    given, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    before, more, changed = files(place), [], {}
    if isinstance(given, list):
        more = [one.format(place=place) for one in given]
    else:
        changed = {key: value.format(place=place) for key, value in given.items()}
    assert command.main(arguments(place, tmp_path / "out", **changed) + more) == 2
    seen = capsys.readouterr()
    assert seen.out == "" and seen.err.startswith("Error: ") and words in seen.err, seen.err
    assert seen.err.count("\n") == 1 and seen.err.endswith((".\n", ".)\n")), seen.err
    assert not files(tmp_path) and [one for one in files(place) if "__pycache__" not in one] == [
        one for one in before if "__pycache__" not in one]


def test_there_are_more_than_forty_kinds():
    assert len(BAD) >= 40


@pytest.mark.parametrize("given", [[], ["audit"], ["audit", "resnet18"], ["nothing"], ["book"]])
def test_a_command_line_that_lacks_something(capsys, given):
    assert command.main(given) == 2
    seen = capsys.readouterr()
    assert seen.out == "" and seen.err.count("\n") == 1


@pytest.mark.parametrize("given", [["--version"], ["--help"], ["audit", "--help"], ["doctor"]])
def test_what_is_no_mistake_ends_with_zero(capsys, given):
    assert command.main(given) == 0
    seen = capsys.readouterr()
    assert seen.out and not seen.err


def test_the_help_says_that_files_run_code(capsys):
    command.main(["audit", "--help"])
    assert "run the code that they name" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("model", ["pickle.pt", "net.py:softmax"])
def test_a_process_says_one_line_too(place, tmp_path, model):
    """With the warnings that Python shows by default, of which some are torch's."""
    ended = subprocess.run([sys.executable, "-m", "fragility", *arguments(place, tmp_path / "out", model=model)],
                           cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and ended.stdout == "", ended.stderr
    assert not files(tmp_path)


def test_a_core_install_without_jinja_is_told_what_to_install(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert command.main(arguments(place, tmp_path / "out")) == 2
    assert "pip install 'fragility[audit]'" in capsys.readouterr().err and not files(tmp_path)


# What it writes

@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """The folder of an audit by all criteria, with a method of a file."""
    out = tmp_path_factory.mktemp("finished") / "audit"
    module = types.ModuleType("fragility.audit.page")
    module.render = lambda report: "<!doctype html><title>Audit</title>"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "fragility.audit.page", module)
        assert command.main(arguments(place, out, "--steps", "2", "--attacked", "4", data="tree", criteria=None,
                                      methods=f"gradient,lrp,{place}/net.py:edges")) == 0
    return out


def test_the_files_of_an_audit(finished, place):
    assert files(finished) == ["measured.jsonl", "report.csv", "report.html", "report.json", "report.xml"]
    found = json.loads((finished / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert found["subject"]["accuracy"] is not None and found["subject"]["class_names"] == ["class 0", "class 1"]
    assert f"{place}/net.py:edges" in found["methods"] and found["settings"]["steps"] == 2
    assert found["settings"]["command"].startswith("python -m fragility")


def valid(found):
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(found)


def test_the_json_follows_the_published_schema(finished, place):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = json.loads((finished / "report.json").read_text())
    valid(found)
    assert SCHEMA["$id"] == fragility.audit.report.SCHEMA == found["schema"]
    names = {"verdicts": Verdict.__dataclass_fields__}
    assert set(SCHEMA["properties"]["verdicts"]["items"]["properties"]) == set(names["verdicts"])
    valid(json.loads((place / "old.json").read_text()))
    report = run(methods={"gone": lambda model, x, target: 0 * x, "gradient": fragility.attribution.gradient,
                          "broken": lambda model, x, target: x[:1]})
    valid(json.loads(report.to_json()))
    compare.with_baseline(report, json.loads(report.to_json()))
    assert report.compared
    valid(json.loads(report.to_json()))


@pytest.mark.parametrize("change", [
    lambda found: found.pop("verdicts"), lambda found: found.update(schema="fragility-audit-0"),
    lambda found: found["verdicts"][0].update(verdict="good"), lambda found: found["subject"].update(n=1),
    lambda found: found["measured"][0]["score"].append("high"), lambda found: found.update(more=1),
    lambda found: found["criteria"][0].update(margin=0.5)])
def test_the_schema_refuses_what_is_no_report(finished, change):
    found = json.loads((finished / "report.json").read_text())
    change(found)
    with pytest.raises(jsonschema.ValidationError):
        valid(found)


def test_the_csv_has_a_row_an_image_method_and_criterion(finished):
    found = json.loads((finished / "report.json").read_text())
    with (finished / "report.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(one["images"]) for one in found["measured"])
    for one in found["measured"]:
        own = [line for line in lines if (line["method"], line["criterion"]) == (one["method"], one["criterion"])]
        assert [line["image"] for line in own] == [found["subject"]["images"][place] for place in one["images"]]
        for line, score, undefined in zip(own, one["score"], one["undefined"]):
            assert (line["score"] == "nan") == (score is None) and line["undefined"] == str(undefined)
            assert score is None or float(line["score"]) == score


def test_the_junit_file_has_a_suite_a_criterion_and_a_case_a_method(finished):
    found = json.loads((finished / "report.json").read_text())
    suites = ElementTree.parse(finished / "report.xml").getroot()
    assert suites.tag == "testsuites" and [suite.get("name") for suite in suites] == [one["name"] for one in
                                                                                      found["criteria"]]
    words = {(one["method"], one["criterion"]): one["verdict"] for one in found["verdicts"]}
    for suite in suites:
        assert int(suite.get("tests")) == len(suite)
        for kind in ("failure", "skipped"):
            assert int(suite.get(f"{kind}s" if kind == "failure" else kind)) == len(suite.findall(f"testcase/{kind}"))
        for case in suite:
            word = words.pop((case.get("name"), suite.get("name")))
            inside = [child.tag for child in case]
            assert inside == {"pass": [], "fail": ["failure"]}.get(word, ["skipped"])
            assert not inside or case[0].get("message").startswith(word)
    assert not words


def test_the_junit_file_holds_names_of_any_kind():
    odd = '<script>"&\x1b[31m\x00'
    report = run(methods={odd: fragility.attribution.gradient}, criteria=["noise"])
    case, = [case for case in ElementTree.fromstring(report.to_junit()).iter("testcase")
             if case.get("name").startswith("<script>")]
    assert case.get("name").startswith('<script>"&')


def test_the_frame_is_the_rows(finished):
    report = run(methods="gradient", criteria=["noise", "cost"])
    frame = report.frame
    assert len(frame) == 8 * 3 + 8 * 3 and {"image", "method", "criterion", "score", "undefined"} <= set(frame)
    assert report.passed.keys() == {"noise", "cost"}
    with pytest.raises(KeyError):
        report.verdict("gradient", "class")


def test_the_same_command_goes_on(finished, place, capsys, page):
    before = (finished / "measured.jsonl").read_text()
    assert command.main(arguments(place, finished, "--steps", "2", "--attacked", "4", data="tree", criteria=None,
                                  methods=f"gradient,lrp,{place}/net.py:edges")) == 0
    assert (finished / "measured.jsonl").read_text() == before
    assert capsys.readouterr().err == ""


def test_an_interruption_ends_with_130(place, tmp_path, capsys, monkeypatch, page):
    def interrupted(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr("fragility.audit.command.run", interrupted)
    assert command.main(arguments(place, tmp_path / "out")) == 130
    assert "goes on where it was" in capsys.readouterr().err


def test_a_function_of_images_and_a_module_are_models(place, tmp_path, page):
    for name in ("images", "made"):
        assert command.main(arguments(place, tmp_path / name, model=f"net.py:{name}")) == 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_a_torchscript_file_is_a_model(place, tmp_path, page, capsys):
    torch.jit.save(torch.jit.trace(network(), torch.rand(2, 1, 12, 12)), tmp_path / "script.pt")
    assert command.main(["audit", str(tmp_path / "script.pt"), "--data", str(place / "pictures"), "--out",
                         str(tmp_path / "out"), "--quiet", "--methods", "gradient,lrp", "--criteria", "noise"]) == 0
    assert "refused by lrp" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "TorchScript" in found["methods"]["lrp"]["refused"]


# Exit codes

def verdict(method, criterion, word, **numbers):
    return Verdict(method, criterion, word, "Because.", **numbers)


def judged(*verdicts, refused=(), compared=()):
    methods = {name: {"control": name in ("sobel", "random"), "seconds": 0.0, "megabytes": None,
                      "refused": "It has no rule." if name in refused else None}
               for name in dict.fromkeys([*(one.method for one in verdicts), *refused])}
    return Report({}, {}, [], {}, methods, {}, list(verdicts), compared=list(compared))


WORDS = judged(verdict("a", "noise", "pass"), verdict("b", "noise", "fail"), verdict("a", "class", "undecided"),
               verdict("b", "class", "pass"), verdict("sobel", "noise", "fail"), verdict("sobel", "class", "fail"),
               verdict("a", "attack", "not judged"), verdict("b", "attack", "not judged"), refused=["c"])


@pytest.mark.parametrize("guarded, allowed, expected", [
    ([], False, 0),                                 # nothing is guarded
    ([(None, "noise")], False, 1),                  # one method fails
    ([("a", "noise")], False, 0), ([("b", "noise")], False, 1), ([("b", "noise")], True, 1),
    ([(None, "class")], False, 3),                  # undecided; the control's failure is no news
    ([(None, "class")], True, 0), ([("a", "class")], False, 3), ([("b", "class")], False, 0),
    ([("sobel", "class")], False, 1),               # a control counts where it is named
    ([(None, "class"), ("b", "noise")], False, 1),  # failing comes before undecided
    ([("a", "attack")], False, 3), ([(None, "attack")], False, 3), ([("a", "attack")], True, 0),
    ([("c", "noise")], False, 3),                   # a guard that the model refuses guards nothing
])
def test_exit_codes(guarded, allowed, expected):
    assert exit_code(WORDS, guarded, allow_undecided=allowed) == expected


@pytest.mark.parametrize("change, guarded, expected", [
    ("dropped", [("a", "noise")], 1), ("dropped", [(None, "noise")], 1), ("dropped", [("b", "noise")], 0),
    ("dropped", [], 0), ("same", [("a", "noise")], 0), ("risen", [("a", "noise")], 0)])
def test_a_drop_below_the_baseline_fails_where_it_is_guarded(change, guarded, expected):
    report = judged(verdict("a", "noise", "pass"), verdict("b", "noise", "pass"),
                    compared=[{"method": "a", "criterion": "noise", "change": change}])
    assert exit_code(report, guarded) == expected


def old_report(**changed):
    was = {"method": "a", "criterion": "noise", "verdict": "pass", "effect": 0.5, "low": 0.4, "high": 0.6, **changed}
    return {"subject": {"model": "m", "classes": 2, "shape": [1, 2, 3]}, "settings": {}, "verdicts": [was]}


def now_report(**changed):
    numbers = {"verdict": "pass", "effect": 0.5, "low": 0.4, "high": 0.6, **changed}
    report = judged(verdict("a", "noise", numbers.pop("verdict"), **numbers))
    report.subject = {"model": "m", "classes": 2, "shape": [1, 2, 3]}
    return report


@pytest.mark.parametrize("was, now, change", [
    ({}, {}, "same"), ({}, {"effect": 0.3, "low": 0.25, "high": 0.39}, "dropped"),
    ({}, {"effect": 0.45, "low": 0.35, "high": 0.41, "verdict": "fail"}, "same"),   # within the interval
    ({}, {"effect": 0.8, "low": 0.7, "high": 0.9}, "risen"),
    # What is exact is a number without an interval: rounding is no change, a verdict is.
    ({"effect": -1e-13, "low": -1e-13, "high": -1e-13}, {"effect": -2e-13, "low": -2e-13, "high": -2e-13}, "same"),
    ({"effect": -1e-13, "low": -1e-13, "high": -1e-13},
     {"effect": -0.4, "low": -0.4, "high": -0.4, "verdict": "fail"}, "dropped"),
    ({"effect": -0.4, "low": -0.4, "high": -0.4, "verdict": "fail"}, {"effect": 0.0, "low": 0.0, "high": 0.0}, "risen"),
    # Maps that became undefined have no effect at all.
    ({}, {"effect": None, "low": None, "high": None, "verdict": "fail"}, "dropped"),
    ({"effect": None, "low": None, "high": None, "verdict": "fail"}, {}, "risen"),
    ({"verdict": "not judged"}, {}, None), ({}, {"verdict": "not judged"}, None)])
def test_what_changed_since_a_baseline(was, now, change):
    report = now_report(**now)
    compare.with_baseline(report, old_report(**was))
    assert [one["change"] for one in report.compared] == ([] if change is None else [change])


def test_a_baseline_of_other_settings_is_noticed():
    report = now_report()
    report.settings = {"epsilon": 0.1, "k": 0.02}
    compare.with_baseline(report, {**old_report(), "settings": {"epsilon": 0.05, "k": 0.02}})
    assert report.notices == ["The baseline was measured with epsilon = 0.05, this audit with 0.1."]


def test_guards_and_a_baseline_on_the_command_line(place, tmp_path, capsys, page):
    """The maps of a network against their own baseline, and against one whose numbers were far higher."""
    options = {"methods": f"gradient,{place}/net.py:edges", "criteria": "class,noise"}
    out = tmp_path / "out"
    edges = f"{place}/net.py:edges"
    assert command.main(arguments(place, out, **options)) == 0
    assert command.main(arguments(place, out, "--fail-on", f"{edges}:class", **options)) == 1
    assert command.main(arguments(place, out, "--fail-on", "gradient:class", "--margin", "class=-9", **options)) == 0
    (tmp_path / "old.json").write_text((out / "report.json").read_text())
    assert command.main(arguments(place, out, "--fail-on", "gradient:class", "--margin", "class=-9", "--baseline",
                                  str(tmp_path / "old.json"), **options)) == 0
    high = json.loads((tmp_path / "old.json").read_text())
    for one in high["verdicts"]:
        one.update({name: one[name] + 5 for name in ("effect", "low", "high")})
    (tmp_path / "high.json").write_text(json.dumps(high))
    dropped = [*arguments(place, out, "--margin", "class=-9", "--baseline", str(tmp_path / "high.json"), **options)]
    assert command.main([*dropped, "--fail-on", "gradient:class"]) == 1
    assert command.main(dropped) == 0
    capsys.readouterr()


def test_undecided_ends_with_three_unless_it_is_allowed(place, tmp_path, page, monkeypatch):
    judge = fragility.audit.run.__globals__["judge"]
    monkeypatch.setitem(fragility.audit.run.__globals__, "judge",
                        lambda *given, **named: replace(judge(*given, **named), verdict="undecided"))
    assert command.main(arguments(place, tmp_path / "a", "--fail-on", "noise")) == 3
    assert command.main(arguments(place, tmp_path / "a", "--fail-on", "noise", "--allow-undecided")) == 0
    assert command.main(arguments(place, tmp_path / "a")) == 0
