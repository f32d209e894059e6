"""CARLA's interfaces, its ground truth and a stand-in for its bridges."""
