"""What workers and people say to each other through Redis: who lives, who takes what, which sessions there are."""
