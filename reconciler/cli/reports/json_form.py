"""One JSON object for programs. Fields may be added to it, none is ever renamed or taken away."""

import json
from collections.abc import Sequence

from reconciler.manifests.checks import Policy
from reconciler.manifests.verdict import Verdict


def render(verdict: Verdict, policies: Sequence[Policy]) -> str:  # noqa: ARG001 - every form is made so
    """The verdict; ``elsewhere`` counts problems that ``--changed-since`` leaves out."""
    return json.dumps(
        {
            "valid": verdict.valid,
            "strict": verdict.strict,
            "environments": verdict.environments,
            "files": len(verdict.names),
            "objects": verdict.objects,
            "errors": verdict.errors,
            "warnings": verdict.warnings,
            "elsewhere": verdict.elsewhere,
            "problems": [problem.as_json() for problem in verdict.problems],
            "ignored": [each.problem.as_json() | {"reason": each.reason} for each in verdict.ignored],
        },
        indent=2,
        ensure_ascii=False,
    )
