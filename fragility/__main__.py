import sys

from fragility.command import main

sys.exit(main())
