"""The look for known vulnerabilities never stops anything, and always says whether it was done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit"
PYTHON = f"""#!/usr/bin/env bash
case "$*" in
  *freeze*) echo "torch==2.0.0+cpu" ;;
  *pip_audit*) echo "$FOUND" ;;
  *install*) exit $INSTALL ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
UNKNOWN = {"name": "a", "skip_reason": "not found"}
SOUND = {"name": "b", "version": "1.0", "vulns": []}
BAD = {"name": "c", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3.0"]}]}


@pytest.mark.parametrize(
    "install,found,said",
    [
        (1, None, "audit: skipped, pip-audit can't be installed here\n"),
        (0, None, "audit: skipped, the advisories can't be read here\n"),
        (0, [UNKNOWN], "audit: skipped, the advisories can't be read here\n"),
        (0, [UNKNOWN, SOUND], "audit: 0 findings in 1 packages, 1 could not be looked up\n"),
        (
            0,
            [SOUND, BAD],
            "audit: 1 findings in 2 packages, 0 could not be looked up\n  c 2.0: CVE-1, fixed in 2.1, 3.0\n",
        ),
    ],
)
def test_it_says_what_it_found_or_that_it_could_not_look(tmp_path, install, found, said):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    answer = "" if found is None else json.dumps({"dependencies": found})
    variables = {"PATH": "/usr/bin:/bin", "INSTALL": str(install), "FOUND": answer}
    done = subprocess.run([AUDIT, python], capture_output=True, text=True, env=variables)
    assert (done.returncode, done.stdout) == (0, said), done.stderr
