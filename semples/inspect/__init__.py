"""Looking at CAMs: what a file holds, an image in the terminal or as a picture, a page of many."""
