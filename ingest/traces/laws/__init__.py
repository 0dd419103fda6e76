"""What must hold for the routing of any engine before it lands."""
