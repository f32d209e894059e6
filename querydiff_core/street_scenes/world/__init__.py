"""What stands where: street, ground, sky, traffic, weather."""
