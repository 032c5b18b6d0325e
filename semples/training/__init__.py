"""What the learning stages share: the loop, checkpoints, jobs, selection of an epoch."""
