"""`catdog export`: writes a network with all that prediction does, so that it answers without catdog.

command                the verb: what is written where
exported               what is exported, and what the file says of itself
network                the whole of predict as one torch module: uint8 photos of any size -> probabilities
torch_program, onnx    that module as a torch.export program, and as an ONNX graph
html                   one file for a browser: its arithmetic and its looks are in page/
"""
