"""Remove and retrain, keep and retrain [hooker2019]."""
