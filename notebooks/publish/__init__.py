"""What makes pictures, a site and a class of the lessons."""
