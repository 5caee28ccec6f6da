# SPDX-License-Identifier: MIT
from typing_extensions import disjoint_base  # for type checkers only: they all bring it

@disjoint_base
class Bell:
    def fileno(self) -> int: ...
    def wait(self, timeout_ns: int = -1) -> bool: ...
