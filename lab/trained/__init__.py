"""Networks trained for the book, and the images on which their maps are compared."""
