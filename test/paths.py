"""Where the tests find the repository and, where it is there, the folder of real data beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CAMVID = REPOSITORY.parent / "shared" / "data" / "camvid"
