"""What a challenger must show before it serves, and how two models compare on the photos of today."""
