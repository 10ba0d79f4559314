"""What others have published: the paper's tables, the rows of the comparison, their families; each a CSV file."""
