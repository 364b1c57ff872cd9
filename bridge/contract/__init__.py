"""What those who read the streams are promised, as schemas. Pure: it knows the words, and not how entries are made."""
