"""What a model says of an emotional post: asked, told to be emotional, and in its reply.

After "Decoding Emotion in the Deep" (arXiv 2510.04064), with what it left without a control.

1. `texts` are the posts as prompts, `reading` reads states of prompts and replies, `readers` are
   linear probes of both, fitted on development posts.
2. Three parts: `asking` (the model is asked for the label), `systems` (it is told to be emotional
   or calm), `changing` (what is read is erased, added, or given to another post).
3. `study` makes them stage by stage, `rows` are its figures. `run_expression` (`run`) does it.
"""

from probekit.expression.options import PARTS, Expression
from probekit.expression.run import run_expression
from probekit.expression.study import Study
from probekit.expression.systems import SYSTEMS

__all__ = ["PARTS", "SYSTEMS", "Expression", "Study", "run_expression"]
