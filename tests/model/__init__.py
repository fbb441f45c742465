"""A session against a small model of it: hypothesis decides what happens next, the model says what may."""
