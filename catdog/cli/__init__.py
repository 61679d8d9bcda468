"""The command line, `catdog VERB`: how each verb is asked for; what it does is in the package.

main             the parser, and errors as one sentence; flags: what several verbs have
train, predict   a file a verb; serve, tune, data; tools: evaluate, explain, demo, doctor, export,
                 push
"""
