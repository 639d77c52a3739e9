"""Many grids compared: a study, the flow that runs it, and the workspaces of its seeds."""
