"""Training: data, losses and a loop that resumes to the step."""
