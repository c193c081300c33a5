"""The house: what it depends on, which way its imports go, and what its front door promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import analysis

REPOSITORY = Path(__file__).parents[1]
FRONT_ENDS = {
    "panel",
    "panel_material_ui",
    "param",
    "holoviews",
    "bokeh",
    "cyclopts",
    "matplotlib",
    "tqdm",
    "dashboards",
}
TOP_LEVEL = {
    "analysis", "dashboards", "notebooks", "tests", "deploy", ".ci",
    "environment.yml", "pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".gitignore",
}  # fmt: skip
# What conda-forge calls differently, or in two packages.
IN_CONDA = {"dask[distributed]": {"dask", "distributed"}}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements_of(lines):
    """Version specifiers by name, extras spelled out as conda has them."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        for name in IN_CONDA.get(requirement.name + extras, {requirement.name}):
            found[name] = requirement.specifier
    return found


def test_environment_and_project_name_the_same_dependencies(project):
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    assert pip["pip"][-1] == "-e ."
    named = requirements_of([*conda, *pip["pip"][:-1]])
    assert named.pop("python") == Requirement(f"python{project['requires-python']}").specifier
    assert not named.pop("pip")
    extras = project["optional-dependencies"]
    wanted = requirements_of(
        [
            *project["dependencies"],
            *extras["test"],
            *extras["distributed"],
            *extras["formats"],
            *extras["embedding"],
            *extras["rois"],
        ]
    )
    assert named == wanted


def test_every_import_is_a_dependency(project):
    names = {
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "re2": "google-re2",
        "PIL": "pillow",
        "umap": "umap-learn",
    }
    # parts of what a dependency itself depends on and promises: the parser of docstrings of the command line
    through = {"docstring_parser": "cyclopts", "markupsafe": "jinja2", "dask": "dask", "distributed": "dask"}
    allowed = set(requirements_of(project["dependencies"])) | {
        "analysis",
        "dashboards",
        "dask",
        "bioio",
        "umap-learn",
        "roifile",
    }
    for path in sources("analysis", "dashboards"):
        for module in imports_of(path):
            if module not in sys.stdlib_module_names:
                name = through.get(module, names.get(module, module.replace("_", "-")))
                assert name in allowed, f"{path}: {module} is not among the dependencies"


def test_version_stands_in_one_place(project):
    assert project["dynamic"] == ["version"]
    assert "version" not in project
    assert str(Version(analysis.__version__)) == analysis.__version__
    elsewhere = [
        path
        for path in sources("analysis", "dashboards")
        if re.search(r"^__version__ *=", path.read_text("utf-8"), re.M)
    ]
    assert elsewhere == [REPOSITORY / "analysis" / "__init__.py"]


def sources(*folders):
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def imports_of(path):
    """Top-level names of the modules a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", sources("analysis"), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_analysis_knows_no_front_end(path):
    assert not set(imports_of(path)) & FRONT_ENDS


def test_instruments_do_not_import_each_other():
    instruments = {path.name for path in (REPOSITORY / "analysis").iterdir() if path.is_dir()} - {"synthetic"}
    for instrument in instruments:
        for path in sources(f"analysis/{instrument}"):
            others = set(re.findall(r"analysis\.(\w+)", path.read_text(encoding="utf-8"))) & instruments
            assert others <= {instrument}, path


def test_pages_use_only_what_is_public():
    for path in sources("dashboards"):
        assert not re.findall(r"\bfrom analysis[\w.]*\._\w+ import", path.read_text(encoding="utf-8")), path


def test_only_what_belongs_there_stands_at_the_top():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {line.partition("/")[0] for line in listed.stdout.splitlines()} <= TOP_LEVEL


def test_only_pages_stand_beside_support():
    # `panel serve dashboards/*.py` serves every file there
    names = {path.name for path in (REPOSITORY / "dashboards").glob("*.py")} - {"__init__.py"}
    allowed = {f"{name}.py" for name in ("home", "flatfield", "tiles", "circles", "exposures", "texture")}
    assert names <= allowed


@pytest.mark.parametrize(
    "line",
    [
        "python -m pip install -e . && graticule demo",
        'python -m pip install -e ".[test]" && python -m pytest',
    ],
)
def test_readme_has_its_two_commands(line):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"```sh\n{line}\n```" in text


def test_readme_shows_the_pictures_there_are_and_they_are_small():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    there = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "notebooks" / "pictures").glob("*.png")]
    assert sorted(shown) == sorted(there) and len(there) == 6
    assert sum((REPOSITORY / name).stat().st_size for name in shown) < 500_000
