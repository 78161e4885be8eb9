"""The `workbench` command. Errors made on purpose end as one line on stderr and exit code 2; nothing else is caught."""

from __future__ import annotations

import sys

import typer

from .errors import WorkbenchError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The Occlusion Workbench."
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets and weights: list, show, fetch, verify.")
app.add_typer(data_app, name="data")

# --- data ---------------------------------------------------------------------------------------------------------

# --- train, evaluate, bench ---------------------------------------------------------------------------------------

# --- run, runs, lab -----------------------------------------------------------------------------------------------


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
