"""What is on this machine: folders, downloads, optional packages, processors."""
