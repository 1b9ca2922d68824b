import gc

from lab.cli import main

gc.freeze()     # what the imports made stays to the end: searching it for garbage took a seventh of `lab claims`
main(prog_name="python -m lab")
