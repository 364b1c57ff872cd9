"""The places that a configuration may come from, each read into one form. Which one wins is not for them to say."""
