"""The networks of the three ranking stages. They know tensors; they know neither files nor logs nor requests."""
