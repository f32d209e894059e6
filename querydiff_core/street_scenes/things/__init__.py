"""What stands in a scene: cars, people, fronts, plants, signs."""
