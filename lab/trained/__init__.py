"""Networks trained for the book, and the images that each of them is judged by."""
