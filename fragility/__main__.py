from fragility.cli import main

main(prog_name="python -m fragility")
