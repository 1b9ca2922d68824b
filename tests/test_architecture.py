"""The rooms: who may import whom, what an import costs, and what a wheel brings."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
MODULES = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
           for room in ("fragility", "lab") for file in (ROOT / room).rglob("*.py")}
CORE = {"torch", "numpy", "scipy", "threadpoolctl"}      # what `pip install .` brings
# What the wheel does not bring: each is asked for by name, in a sentence, where it is missing.
INSIDE_FUNCTIONS = {"fragility.data": {"PIL"}, "fragility.interop": {"captum"},
                    "fragility.audit.models": {"torchvision", "timm", "safetensors"},
                    "fragility.audit.report": {"pandas"}, "fragility.audit.command": {"jinja2"},
                    "fragility.audit.page": {"jinja2"}}


def imports(file: Path, *, lazily: bool = True) -> set[str]:
    """Absolute names that a file imports; those inside functions, too, where `lazily`."""
    tree = ast.parse(file.read_text())
    if lazily:
        nodes = list(ast.walk(tree))
    else:
        nodes = [node for top in tree.body if not isinstance(top, (ast.FunctionDef, ast.ClassDef)) for node in
                 ast.walk(top)]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_in(names: set[str]) -> set[str]:
    """The project's own modules among imported names: `a.b.c` is the module a.b where c is a name in it."""
    found = set()
    for name in names:
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} - {""}
    return found


GRAPH = {name: modules_in(imports(file, lazily=False)) - {name} for name, file in MODULES.items()}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("fragility")])
def test_the_instrument_imports_nothing_of_the_laboratory_and_only_what_a_wheel_brings(name):
    always, ever = ({one.partition(".")[0] for one in imports(MODULES[name], lazily=lazily)} - {"fragility"}
                    for lazily in (False, True))
    brought = CORE | set(sys.stdlib_module_names)
    assert always <= brought and ever <= brought | INSIDE_FUNCTIONS.get(name, set()), ever


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(("lab.core", "lab.drawing",
                                                                               "lab.material", "lab.trained"))])
def test_what_chapters_stand_on_knows_no_chapter(name):
    above = ("lab.chapters", "lab.catalogue", "lab.verdicts", "lab.book", "lab.cli")
    assert not [one for one in modules_in(imports(MODULES[name])) if one.startswith(above)]


def test_the_core_stands_on_the_instrument_alone():
    for name in MODULES:
        if name.startswith("lab.core"):
            others = {one for one in modules_in(imports(MODULES[name])) if one.startswith("lab.")}
            assert all(one.startswith("lab.core") for one in others), (name, others)


def test_there_are_no_circles():
    """Depth first over what modules import when they are imported themselves."""
    done, path = set(), []

    def visit(name):
        assert name not in path, f"a circle: {' -> '.join([*path[path.index(name):], name])}"
        if name in done:
            return
        path.append(name)
        for other in sorted(GRAPH[name]):
            if not name.startswith(other + "."):        # a package is imported before its modules in any case
                visit(other)
        done.add(path.pop())

    for name in GRAPH:
        visit(name)


def test_a_circle_is_found(monkeypatch):
    monkeypatch.setitem(GRAPH, "lab.core.folders", {"lab.core.profiles"})
    with pytest.raises(AssertionError, match="a circle"):
        test_there_are_no_circles()


def run(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_importing_anything_restyles_and_configures_nothing():
    rooms = [name for name in MODULES if not name.endswith("__main__")]
    assert run(f"""
import importlib, os, random, matplotlib, numpy, torch
def state():
    return (dict(matplotlib.rcParams), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32, torch.get_rng_state().tolist()[:9],
            random.getstate()[1][:9], dict(os.environ), numpy.geterr())
importlib.import_module("seaborn"), importlib.import_module("pandas"), importlib.import_module("sklearn")
before = state()
for name in {rooms!r}:
    importlib.import_module(name)
print([place for place, (a, b) in enumerate(zip(before, state())) if a != b])
""") == "[]"


def test_submodules_are_there_on_first_use_and_cost_nothing_before():
    assert run("import sys, fragility; print('torch' in sys.modules, fragility.attribution.gradient.__name__, "
               "fragility.Normalised.__name__, 'torch' in sys.modules)") == "False gradient Normalised True"


def test_drawing_one_bar_imports_no_experiment():
    loaded = run("import sys, lab.drawing.style, lab.drawing.tables, lab.drawing.maps; print(*sys.modules)").split()
    assert not [name for name in loaded if name.startswith(("lab.chapters", "lab.trained", "lab.catalogue"))]


BLOCKER = """
import builtins
imported = builtins.__import__
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    asker = (globals or {}).get("__name__", "")
    if asker.partition(".")[0] == "fragility" and name.partition(".")[0] in BANNED:
        raise ModuleNotFoundError(f"{asker} imports {name}, which a wheel does not bring", name=name)
    return imported(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
"""


def test_every_kernel_runs_with_what_a_wheel_brings():
    banned = {"lab", "torchvision", "PIL", "skimage", "pandas", "matplotlib", "seaborn", "click", "tqdm", "pydantic",
              "yaml", "safetensors", "mlxtend", "sklearn", "papermill", "nbformat", "captum", "zennit", "IPython"}
    code = f"BANNED = {banned!r}\n{BLOCKER}" + (ROOT / "tests" / "smoke.py").read_text()
    assert run(code).endswith("every kernel ran")


def test_a_wheel_in_a_fresh_environment_runs_every_kernel(tmp_path):
    """A new environment that holds the wheel and, linked from here, torch, NumPy, SciPy, threadpoolctl and what they
    need themselves; nothing else can be imported there, whatever PYTHONPATH says."""
    source = tmp_path / "source"        # a build in the checkout could pick up what an older one left there
    shutil.copytree(ROOT / "fragility", source / "fragility", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path,
                    source], check=True, capture_output=True)
    wheel, = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    link_distributions(CORE, site)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True,
                   capture_output=True)
    rooms = ("lab", "tests", "benchmarks", "notebooks", "fragility")
    brought = {file.name for file in site.iterdir() if file.name in rooms}
    assert brought == {"fragility"} and (site / "fragility" / "py.typed").is_file()
    assert all((site / "fragility" / "audit" / name).is_file() for name in ("report.html", "report.css"))
    done = subprocess.run([python, "-I", "-W", "error", "-c", (ROOT / "tests" / "smoke.py").read_text()], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.stdout.strip().endswith("every kernel ran"), done.stderr[-2000:]
    asked = subprocess.run([python, "-I", "-m", "fragility", "doctor"], cwd=tmp_path, capture_output=True, text=True)
    assert asked.returncode == 0 and str(site) in asked.stdout


def link_distributions(names: set[str], site: Path) -> None:
    """Link installed distributions and all that they require into another environment's site-packages."""
    from importlib.metadata import PackageNotFoundError, distribution

    waiting, seen = set(names), set()
    while waiting:
        seen.add(name := waiting.pop())
        try:
            found = distribution(name)
        except PackageNotFoundError:        # for another platform
            continue
        for file in found.files or ():
            top = file.parts[0]
            source = Path(found.locate_file(top))
            if top != ".." and top != "__pycache__" and source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
        for text in found.requires or ():
            one = Requirement(text)
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and one.name not in seen:
                waiting.add(one.name)


def test_requirements_are_said_once():
    """requirements.txt is what the README's commands install: what the project depends on, its book and its tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    said = {line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()
            if line.strip() and not line.startswith("#")}
    extras = project["project"]["optional-dependencies"]
    assert said == {*project["project"]["dependencies"], *extras["book"], *project["dependency-groups"]["test"]}


def test_old_commands_name_the_new_one():
    for command in ("book", "plan", "sweep", "publish", "verify", "claims"):
        done = subprocess.run([sys.executable, "-m", "fragility", command, "--x"], cwd=ROOT, capture_output=True,
                              text=True)
        assert done.returncode == 2 and f"python -m lab {command} --x" in done.stderr and "Traceback" not in done.stderr


def test_public_signatures_survive_the_decorator():
    from inspect import signature

    from fragility import attribution
    for name in ("gradient", "integrated_gradients", "deeplift", "lrp", "noise_ensembles"):
        parameters = list(signature(getattr(attribution, name)).parameters)
        assert parameters[:3] == ["model", "x", "target"] and "chunk" in parameters
