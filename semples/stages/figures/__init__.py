"""figures: panels of images, curves, prompt words and confusion matrices, each as PNG and PDF."""
