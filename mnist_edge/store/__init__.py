"""Files on disk: atomic writes, locks, manifests, workspaces, model files and signatures."""
