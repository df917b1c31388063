"""The fault layer is imported by name, here and by the rooms that use it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
