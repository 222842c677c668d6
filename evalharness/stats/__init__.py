"""The statistics of the gate: arrays in, `core.estimates.PairedEstimate` out. numpy and scipy.special only."""
