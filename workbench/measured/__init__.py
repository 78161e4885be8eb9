"""RESULTS.md from rows: what `evaluate --json` wrote, in `rows/`, and the text around it.

`RESULTS.md.j2` asks for rows by what their words say; a number that no row holds is an error. Who
measures anew puts the file in the place of the old one and runs `workbench results`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from ..errors import BadFile, BadParameter, MissingFile
from ..outputs import write_text

HERE = Path(__file__).parent
TEMPLATE = "RESULTS.md.j2"


@dataclass(frozen=True)
class Row:
    """A measured row, and how its numbers are written."""

    name: str  # for errors
    content: Mapping

    def _of(self, part: str, measure: str) -> object:
        found = self.content.get(part, {}).get(measure)
        if found is None:
            known = ", ".join(self.content.get(part, {}))
            raise BadParameter(f"{self.name}: no {part} of {measure!r}", remedy=f"known: {known}")
        return found

    @property
    def n(self) -> str:
        return f"{self.content['n']:,}"

    def number(self, measure: str) -> object:
        return self._of("metrics", measure)

    def value(self, measure: str, digits: int = 1) -> str:
        return f"{self.number(measure):,.{digits}f}"

    def percent(self, measure: str, digits: int = 1) -> str:
        """A share, 0 to 1, in percent."""
        return f"{100 * float(self.number(measure)):.{digits}f}"

    def interval(self, measure: str, digits: int = 1) -> str:
        """As "56.2 [48.8, 66.3]"."""
        low, high = self._of("intervals", measure)
        return f"{self.value(measure, digits)} [{low:.{digits}f}, {high:.{digits}f}]"

    def change(self, measure: str, digits: int = 1) -> str:
        """A measure that is a difference, as "-0.37 [-0.56, -0.27]"."""
        low, high = self._of("intervals", measure)
        value = self._of("metrics", measure)
        return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"

    def paired(self, measure: str, digits: int = 1) -> str:
        """The difference to the row's rival, as "-35.1 [-42.8, -27.2]"."""
        return _difference(self._of("paired", measure), digits)

    def low(self, measure: str, digits: int = 1) -> str:
        """The lower end of that difference."""
        return f"{self._of('paired', measure)['interval'][0]:+.{digits}f}"

    def against(self, variant: str, measure: str, digits: int = 1) -> str:
        """The difference to another variant of the same rows."""
        found = self._of("against", variant)
        if measure not in found:
            problem = f"{self.name}: nothing of {measure!r} against {variant}"
            raise BadParameter(problem, remedy=f"known: {', '.join(found)}")
        return _difference(found[measure], digits)


def _difference(pair: Mapping, digits: int) -> str:
    low, high = pair["interval"]
    return f"{pair['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


@dataclass(frozen=True)
class Seeds:
    """The same row of several seeds, in their order."""

    rows: Sequence[Row]

    def _each(self, form: str, measure: str, digits: int) -> str:
        return ", ".join(getattr(row, form)(measure, digits) for row in self.rows)

    def values(self, measure: str, digits: int = 1) -> str:
        """As "86.4, 86.5, 86.6"."""
        return self._each("value", measure, digits)

    def paired(self, measure: str, digits: int = 1) -> str:
        """Each seed's difference to its rival, as "+1.16 [+0.41, +2.02], +0.60 [-0.07, +1.25]"."""
        return self._each("paired", measure, digits)

    def mean(self, measure: str, digits: int = 1) -> str:
        """As "50.7 (50.6 to 50.9)"; of one seed its value."""
        values = [float(row.number(measure)) for row in self.rows]
        mean = f"{sum(values) / len(values):,.{digits}f}"
        if len(values) == 1:
            return mean
        return f"{mean} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"

    @property
    def count(self) -> int:
        return len(self.rows)


def rows_file(name: str, folder: Path = HERE) -> Path:
    """The measured rows of that name, as `evaluate --json` wrote them."""
    return folder / "rows" / f"{name}.json"


def _rows_of(file: Path) -> Sequence[Mapping]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return tuple(content["rows"])
    except FileNotFoundError:
        raise MissingFile("no such rows", file=file, remedy="evaluate --json writes them") from None
    except (ValueError, KeyError, TypeError) as error:
        problem = f"not what evaluate --json writes: {error}"
        raise BadFile(problem, file=file, remedy="measure again") from None


def _fitting(path: Path, words: Mapping[str, object]) -> list[Mapping]:
    lines = _rows_of(path)
    return [r for r in lines if r.get("kind") == "measured" and words.items() <= r.items()]


def row(file: str, folder: Path = HERE, **words: object) -> Row:
    """The one measured row of a file whose words are these; `BadParameter` for none or several.

    file: a name of `rows_file`.
    """
    path = rows_file(file, folder)
    fitting = _fitting(path, words)
    if len(fitting) != 1:
        told = ", ".join(f"{key} = {value}" for key, value in words.items())
        raise BadParameter(f"{len(fitting)} rows with {told}", file=path, remedy="one expected")
    return Row(f"{file} {words}", fitting[0])


def seeds(files: str | Sequence[str], folder: Path = HERE, **words: object) -> Seeds:
    """The measured rows whose words are these, one a seed; `BadParameter` for none or two of one
    seed.

    files: names of `rows_file`, of which each holds some of the seeds.
    """
    paths = [rows_file(name, folder) for name in ([files] if isinstance(files, str) else files)]
    fitting = sorted((r for p in paths for r in _fitting(p, words)), key=lambda r: r["seed"])
    if not fitting or len({r["seed"] for r in fitting}) < len(fitting):
        told = ", ".join(f"{key} = {value}" for key, value in words.items())
        problem = f"{len(fitting)} rows with {told}"
        raise BadParameter(problem, file=paths[0], remedy="one a seed expected")
    return Seeds([Row(f"{words}, seed {r['seed']}", r) for r in fitting])


def rendered(folder: Path = HERE) -> str:
    """RESULTS.md's text. Errors: those of `row` and `Row`; `BadFile` for a template that asks for
    something else.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )

    def of(find):
        return lambda file, **words: find(file, folder, **words)

    try:
        return environment.get_template(TEMPLATE).render(row=of(row), seeds=of(seeds))
    except jinja2.TemplateError as error:
        raise BadFile(str(error), file=folder / TEMPLATE, remedy="correct the template") from None


def write_results(path: Path, folder: Path = HERE) -> Path:
    """`rendered`, as a file."""
    return write_text(path, rendered(folder), over=True)
