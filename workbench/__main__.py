"""`python -m workbench`, also under torchrun."""

from .cli import main

main()
