"""What `speed.py` is made of: environments, workloads, races between processes, floors, and the page."""
