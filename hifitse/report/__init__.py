"""What people look at while and after a run trains."""
