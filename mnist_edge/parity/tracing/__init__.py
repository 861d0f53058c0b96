"""Looking at the tensors inside a running file, one format a module: ``trace(int8, float, images) -> list[Trace]``."""
