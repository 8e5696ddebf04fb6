"""Who is where: sites, wards, beds, patients, devices, and their placements over time."""
