"""The paper's studies of PConv, each a function that measures into records and one that draws them."""
