"""Source URLs: taken apart here, handed to the source that has the scheme. Nothing is imported or contacted."""
