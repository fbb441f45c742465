"""The facts, their fold, the door by which they are admitted, and the frames in which they travel."""
