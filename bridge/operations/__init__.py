"""What a person does to a running bridge, through Redis alone. Knows neither the worker nor its ends, but for the
doctor, who looks at both."""
