"""The documents name what the code does."""

import re
from pathlib import Path

from MedDetectLib.core.quality import ACCEPTABLE

ROOT = Path(__file__).resolve().parents[2]
CHECKS = (ROOT / "docs/input-checks.md").read_text("utf-8")


def test_every_acceptable_flaw_is_documented_as_such():
    table = CHECKS.split("## Flaws that can be accepted")[1].split("##")[0]
    assert set(re.findall(r"^\| `([a-z0-9-]+)`", table, re.MULTILINE)) == set(ACCEPTABLE)


def test_every_code_the_intake_can_refuse_with_is_documented():
    codes = set()
    for path in (ROOT / "MedDetectLib/cases").glob("*.py"):
        text = path.read_text("utf-8")
        codes |= set(re.findall(r"(?:InputError|\.error|\.flaw)\(\s*\"([a-z0-9-]+)\"", text))
    assert len(codes) > 30
    named = set(re.findall(r"`([a-z0-9-]+)`", CHECKS))
    assert codes - named == set()


def test_links_between_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
