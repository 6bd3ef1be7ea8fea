"""The champion as a small web service that follows the registry."""
