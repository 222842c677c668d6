"""Runs and comparisons as other tools take them: tables, OpenTelemetry events, MLflow and Weights & Biases runs."""
