"""Models from an MLflow registry. `mlflow` is an extra, and slow to import: only what talks to a server imports it."""
