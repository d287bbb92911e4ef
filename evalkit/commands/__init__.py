"""The commands of `evalkit`, one file a group, arguments beside their action."""
