"""The four papers' questions on a convolutional network, a ConvNeXt and a vision transformer, side by side."""
