"""The paper's experiments on PConv: a folder for each, with what measures it and what draws it."""
