"""Kill the controller at every crash point, under load; then finish, and compare with a run nobody disturbed."""
