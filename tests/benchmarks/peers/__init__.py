"""What the bridge is measured against: what a user would write without it, and what Redis can take. Programs."""
