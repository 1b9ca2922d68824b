"""`make archive`: claims, records, notebooks and environment as one RO-Crate, which describes what it holds."""

import json
import mimetypes
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fragility import __version__
from lab import publishing
from lab.core import folders

METADATA = "ro-crate-metadata.json"
#: Folder -> what it holds.
PARTS = {"claims": "What the papers state and report, and how each statement is tested",
         "results": "Published records: JSON, one file an experiment, with the digest of each; verdicts; pictures",
         "notebooks": "Notebooks with the outputs of the quick scale, and their parameters at the other scales"}
FILES = {"requirements.txt": "What the book needs", "constraints.txt": "The versions that its tests passed with",
         "pyproject.toml": "What the package needs", "CITATION.cff": "How to cite it", "LICENSE": "The licence",
         "codemeta.json": "The software's metadata", "CHANGELOG.md": "What changed, and which verdicts",
         "README.md": "What this is, and the two commands that make the book"}
_ENDINGS = {".ipynb": "application/x-ipynb+json", ".yaml": "application/yaml", ".gz": "application/gzip",
            ".md": "text/markdown", ".cff": "application/yaml", ".toml": "application/toml",
            ".safetensors": "application/octet-stream"}
_MOMENT = (1980, 1, 1, 0, 0, 0)     # the same content gives the same bytes


def files() -> Iterator[Path]:
    """The files of the archive, from the top of the checkout."""
    for part in PARTS:
        found = (file.relative_to(folders.ROOT) for file in sorted((folders.ROOT / part).rglob("*")) if file.is_file())
        yield from (file for file in found if not any(name.startswith((".", "_")) for name in file.parts))
    yield from map(Path, FILES)


def metadata() -> dict:
    """The archive described as RO-Crate 1.1 asks: itself, its folders and files, its licence, its software."""
    about = publishing.codemeta()
    day = re.search(r"^## \S+, (\d{4}-\d\d-\d\d)$", (folders.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    parts = {part: [file for file in files() if file.parts[0] == part] for part in PARTS}
    root = {"@id": "./", "@type": "Dataset", "name": about["name"], "version": __version__, "datePublished": day,
            "description": f"{about['description']}. Claims of papers, the records they are tested on, the notebooks "
                           "that draw them, and the environment that ran them.",
            "license": {"@id": about["license"]}, "author": {"@id": "#authors"}, "publisher": {"@id": "#authors"},
            "isBasedOn": {"@id": about["codeRepository"]},
            "hasPart": [*({"@id": f"{part}/"} for part in PARTS), *({"@id": name} for name in FILES)]}
    folders_of = [{"@id": f"{part}/", "@type": "Dataset", "name": part, "description": PARTS[part],
                   "hasPart": [{"@id": file.as_posix()} for file in inside]} for part, inside in parts.items()]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [
        {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
        root, *folders_of, *map(_entity, files()),
        {"@id": about["license"], "@type": "CreativeWork", "name": "MIT License",
         "description": "A permissive licence"},
        {"@id": "#authors", "@type": "Organization", "name": about["author"][0]["name"], "url": publishing.site()},
        {"@id": about["codeRepository"], "@type": "SoftwareSourceCode", "name": about["identifier"],
         "version": __version__, "programmingLanguage": about["programmingLanguage"]}]}


def _entity(file: Path) -> dict:
    kind = _ENDINGS.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "text/plain"
    return {"@id": file.as_posix(), "@type": "File", "name": file.name, "encodingFormat": kind,
            "contentSize": str((folders.ROOT / file).stat().st_size),
            **({"description": FILES[file.as_posix()]} if file.as_posix() in FILES else {})}


def write(target: Path | None = None) -> Path:
    """Write the archive, by default into `build/`; the same content gives the same bytes. Returns its path."""
    target = target or folders.BUILD / f"fragility-{__version__}.crate.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    contents = {METADATA: json.dumps(metadata(), indent=1, ensure_ascii=False).encode()}
    contents |= {file.as_posix(): (folders.ROOT / file).read_bytes() for file in files()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content, zipfile.ZIP_DEFLATED)
    return target


if __name__ == "__main__":
    print(write())
