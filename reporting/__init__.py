"""Tables, pages and figures of a grid or of finished runs."""
