"""Whether something can be used on this machine now."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Availability:
    """Whether something can be used now. `code` is "ready", "needs download", "needs extra", "needs license", "needs
    weights" (of one's own: none were released) or "rendered only"; `remedy` is what makes it ready."""

    code: str
    remedy: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return self.code == "ready"


READY = Availability("ready")
