"""The worker's own environment: a folder of packages that no package of Slicer's is in.

    environment = EngineEnvironment(folder, python)
    environment.status().state            missing, ready, damaged, outdated, other-python
    installation = environment.begin_install()
    while not installation.poll(): ...    from a timer; `installation.lines` is what pip said
    WorkerClient(python=environment.python, packages=environment.packages)

Every installation is a new folder beside the others, checked by really running a network
in it before one atomic file names it the current one: a failed, cancelled or killed
installation changes nothing.
"""

from MedDetectLib.adapters.environment.engine_environment import EngineEnvironment, Status
from MedDetectLib.adapters.environment.installation import Installation

__all__ = ["EngineEnvironment", "Installation", "Status"]
