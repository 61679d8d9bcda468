"""The glass box: what the network does with a photo, in true numbers, each computed in two or three ways."""
