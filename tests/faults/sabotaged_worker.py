"""`foretell` with something broken in it: `python sabotaged_worker.py NAME stream ...`, NAME as in `sabotage.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from foretell.cli import main
from tests.faults.sabotage import SABOTAGES

if __name__ == "__main__":
    SABOTAGES[sys.argv.pop(1)]()
    main()
