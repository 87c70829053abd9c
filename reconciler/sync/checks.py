"""What is checked of manifests before they are applied: the same as by ``validate``. For sync, ``apply`` and ``plan``.

Manifests know nothing of executors, so somebody who may see both has to say it.
"""

from typing import Final

from reconciler.executors.docker_flags import unsupported
from reconciler.manifests.checks import Checks

CHECKS: Final = Checks(docker_flags=unsupported)
