"""`explore report`: what a bundle's training and a test window say about it, as one page with figures."""
