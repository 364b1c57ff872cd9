"""What is measured: each scenario knows who takes part, in which order, and what its figures are compared by."""
