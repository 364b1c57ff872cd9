"""The values that travel between the rooms, the words that label them, the names of keys. Pure, and knows no room."""
