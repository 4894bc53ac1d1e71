"""The world: disk, weights, devices, DVC and MLflow. Stages reach it through here only."""
