"""The page, `catdog serve`: a web application on this machine, and a JSON API for programs.

serve            binds the address and runs the server; connection: how long and how many connections may be open
app              the Starlette application; state: what its handlers share; guard: who may ask, and how much
requests         reads what a request holds, with sentences for what is wrong in it; responses: JSON as it is given
photos, networks what was uploaded, in memory; the networks that were listed, by id
answers          predictions, and which pixels spoke for which class; batches: photos answered together
inside           Look inside: stepper takes steps on one photo, textbook those of the textbooks' examples
live             the training that is watched, a process of its own; choices: what it can be; runs: all side by side
training_process is that process; watch listens to the training in it, learned_pictures draws what the network has
                 learned, voice tells the server
static/          the page itself: HTML, CSS and ES modules, as they are

Numbers come from `catdog.predict` and the tools. Nothing below this room knows of it.
"""
