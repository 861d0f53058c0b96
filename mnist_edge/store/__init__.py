"""Files on disk: whole writes, locks, manifests, workspaces and signatures."""
