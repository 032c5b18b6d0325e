"""The miniature: a drawn world, and a guide trained on it; the method runs in it in two minutes on two cores."""
