"""Lightning modules and schedules."""
